"""What becomes of one call of the model's: answered by a person, refused, asked about, handed on, or carried out."""

from __future__ import annotations

from callboard.agents.engine import Asked, Handed, HandedTask, Note, Usage, Work
from callboard.agents.engines.approval import Approved, Expired, Rejected, approval_question, reply_of
from callboard.agents.engines.artifact_reading import READ_ARTIFACT, offers_reading, read_artifact
from callboard.agents.engines.course import RunCourse
from callboard.agents.engines.edited_call import policy_details
from callboard.agents.engines.exposure import exposure
from callboard.agents.engines.handing import handed_problem, handed_text
from callboard.agents.engines.human_question import answer_text, question_of, question_rules
from callboard.agents.engines.notes import approval_note, policy_note, result_note
from callboard.agents.engines.place import PendingCall
from callboard.agents.engines.policy import Ask, Auto, Decision, Deny, decision
from callboard.agents.engines.text_limits import shortened
from callboard.agents.engines.tool_effect import Order, carry_out, error_message, result_bytes, result_message
from callboard.agents.engines.tool_rules import ToolRules
from callboard.agents.tools.arguments import argument_problems
from callboard.agents.tools.run_agent import RUN_AGENT, RunAgent
from callboard.agents.tools.tool import Tool, ToolError, ToolSet
from callboard.config.tool_settings import Approval
from callboard.llm.ask_human import ASK_HUMAN
from callboard.llm.provider import Message, ToolCall


class ToolCalls:
    """Carries out one call at a time. A result is journalled when it is returned; what it is not is what the run has
    to wait for, and carries no usage, since the model's answer with the call is journalled too."""

    def __init__(self, rules: ToolRules) -> None:
        self._rules = rules

    async def result(self, run: RunCourse, pending: PendingCall) -> Message | Asked | Handed:
        work, call = run.work, pending.call
        if call.malformed is not None:
            return await _tell(work, pending, "the arguments are not a JSON object")
        if call.name == ASK_HUMAN:
            return await _ask(work, pending)
        if call.name == READ_ARTIFACT and offers_reading(run.told):
            return await _read(run, pending)
        tool = work.tools.get(call.name)
        if tool is None:
            names = ", ".join([*work.tools.names(), ASK_HUMAN])
            return await _tell(work, pending, f"there is no tool {call.name!r}; there are: {names}")
        problems = argument_problems(tool.parameters, call.arguments)
        if problems:
            return await _tell(work, pending, "; ".join(problems))
        order = await self._permitted(run, tool, pending)
        if not isinstance(order, Order):
            return order
        if isinstance(tool, RunAgent):
            return await _hand_on(run, tool, order)
        return await carry_out(work, tool, order, tainted=run.tainted)

    async def _permitted(self, run: RunCourse, tool: Tool, pending: PendingCall) -> Order | Message | Asked:
        """What to carry out, once the policy and the people it names allow it."""
        work, key = run.work, pending.key
        match await self._decision(run, tool, pending.call):
            case Auto():
                return Order(key=key, call=pending.call)
            case Deny(why=why):
                note = policy_note(tool.name, key, "deny", why)
                return await _tell(work, pending, f"{tool.name} is not allowed here: {why}", note)
            case Ask(why=why):
                settings = work.tools.settings(tool.name)
                rules = work.questions if settings.questions is None else question_rules(settings.questions)
                denies = settings.after_untrusted is Approval.DENY and _has_read(run, tool)
                policy = policy_details(settings, run.written if denies else None)
                question = approval_question(work.agent, tool, pending.call, key, why=why, rules=rules, policy=policy)
                answer = work.answers.get(question.key)
                if answer is None:
                    note = policy_note(tool.name, key, "ask", why)
                    return Asked(question=question, usage=Usage(), notes=(note,))
                match reply_of(answer):
                    case Approved(arguments=arguments):
                        note = approval_note(
                            tool.name, key, "approved", by=answer.answered_by, reason=None, edited=arguments is not None
                        )
                        return await self._approved(run, tool, pending, arguments, note)
                    case Rejected(reason=reason):
                        note = approval_note(
                            tool.name, key, "rejected", by=answer.answered_by, reason=reason, edited=False
                        )
                        said = f"a person rejected this call{f', because: {reason}' if reason else ''}"
                        return await _tell(work, pending, said, note)
                    case Expired():
                        note = approval_note(tool.name, key, "expired", by=None, reason=None, edited=False)
                        said = "the question whether this call may be made expired: nobody answered before the deadline"
                        return await _tell(work, pending, f"{said}; it was not made", note)

    async def _approved(
        self, run: RunCourse, tool: Tool, pending: PendingCall, arguments: object, note: Note
    ) -> Order | Message:
        """Edited arguments pass the schema and what the file denies, as the model's did."""
        if not isinstance(arguments, dict) or arguments == dict(pending.call.arguments):
            return Order(key=pending.key, call=pending.call, notes=(note,))
        edited = ToolCall(id=pending.call.id, name=pending.call.name, arguments=arguments)
        problems = argument_problems(tool.parameters, arguments)
        denied = await self._decision(run, tool, edited)
        if isinstance(denied, Deny):
            problems.append(f"it is not allowed: {denied.why}")
        if problems:
            said = f"a person approved this call with other arguments, which cannot be used: {'; '.join(problems)}"
            return await _tell(run.work, pending, said, note)
        return Order(key=pending.key, call=edited, edited=True, notes=(note,))

    async def _decision(self, run: RunCourse, tool: Tool, call: ToolCall) -> Decision:
        settings = run.work.tools.settings(tool.name)
        ruling = await self._rules.ruling(settings, call.arguments)
        if not _has_read(run, tool) or settings.after_untrusted is Approval.AUTO:
            return decision(ruling, after_untrusted=Approval.AUTO, exposure=None)
        way_out = exposure(tool.traits, settings, call.arguments, written=run.written)
        return decision(ruling, after_untrusted=settings.after_untrusted, exposure=way_out)


def _has_read(run: RunCourse, tool: Tool) -> bool:
    """Whether what strangers wrote may be behind a call of the tool."""
    return run.tainted or _strangers_speak(run.work.tools, tool)


def _strangers_speak(tools: ToolSet, tool: Tool) -> bool:
    """Whether strangers have described another tool to the model: a description can give orders as well as a page. A
    server learns nothing by its own tools that it may not know."""
    return any(name != tool.traits.described_by for name in tools.described_by)


async def _ask(work: Work, pending: PendingCall) -> Message | Asked:
    question = question_of(pending.call, pending.key, work.questions)
    if isinstance(question, list):
        return await _tell(work, pending, "; ".join(question))
    answer = work.answers.get(question.key)
    if answer is None:
        return Asked(question=question, usage=Usage())
    text = shortened(answer_text(answer), work.limits.max_result_bytes)
    message = Message(role="tool", content=text, tool_call_id=pending.call.id)
    note = result_note(ASK_HUMAN, pending.key, text, ok=answer.status == "answered", seconds=None, redact=work.redact)
    await work.journal.append([message], Usage(), [note])
    return message


async def _read(run: RunCourse, pending: PendingCall) -> Message:
    work = run.work
    try:
        text = work.redact(await read_artifact(work, pending.call, result_bytes(work, None)))
    except ToolError as error:
        return await _tell(work, pending, error.message)
    # Whose text it is, the reference does not tell: it is as far to be trusted as the run is.
    message = Message(role="tool", content=text, tool_call_id=pending.call.id, untrusted=run.tainted)
    note = result_note(READ_ARTIFACT, pending.key, text, ok=True, seconds=None, redact=work.redact)
    await work.journal.append([message], Usage(), [note])
    return message


async def _hand_on(run: RunCourse, tool: RunAgent, order: Order) -> Message | Handed:
    work, arguments = run.work, order.call.arguments
    pending = PendingCall(key=order.key, call=order.call)
    agent = str(arguments["agent"])
    problem = handed_problem(agent, tool.agents, work)
    if problem is not None:
        return await _tell(work, pending, problem, *order.notes)
    result = work.handed.get(order.key.text)
    if result is None:
        task = HandedTask(key=order.key.text, agent=agent, task=str(arguments["task"]))
        return Handed(children=(task,), usage=Usage())
    text = shortened(work.redact(handed_text(agent, result)), result_bytes(work, tool))
    ok = result.status == "succeeded"
    message = result_message(order, text, untrusted=run.tainted) if ok else error_message(order.call, text)
    # Not to be repeated by a fresh start: the other agent may have changed the world.
    effect = order.effect(tool, idempotent=False)
    note = result_note(RUN_AGENT, order.key, text, ok=ok, seconds=None, redact=work.redact)
    await work.journal.finish_effect(effect, text, [message], [*order.notes, note])
    return message


async def _tell(work: Work, pending: PendingCall, problem: str, *notes: Note) -> Message:
    """A call that no tool has seen: the model is told why."""
    message = error_message(pending.call, work.redact(problem))
    note = result_note(pending.call.name, pending.key, message.content, ok=False, seconds=None, redact=work.redact)
    await work.journal.append([message], Usage(), [*notes, note])
    return message
