"""Questions as records: who may answer what, until when, and what becomes of the messages that show them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from callboard.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from callboard.messaging.events import Actor
from callboard.state.clarifications import MAX_REMINDERS, Answer, Clarification, ClarificationKind, ClarificationStatus
from callboard.state.deliveries import AttemptOutcome, Delivery, DeliveryStatus
from callboard.state.delivery_store import DeliveryStore
from callboard.state.models import clarifications, deliveries, operations
from callboard.state.retention import Retention
from callboard.state.runs import Run, RunStatus, WaitingKind
from callboard.state.store import Store
from tests.support.state_house import Announced, StateHouse, question

ANNA = Actor(kind="user", id="U0ANNA", team="T1", via="slack")
BERT = Actor(kind="user", id="U0BERT", team="T1", via="slack")
TOKEN = Actor(kind="api", id="token", via="http")
HOUR = 3600.0
MAIL = {"to": "all@example.org", "subject": "Hi"}
MAIL_SCHEMA = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "subject": {"type": "string"}},
    "required": ["to"],
    "additionalProperties": False,
}


async def ask(house: StateHouse, *, reply: bool = False, **rules: Any) -> Run:
    """A run that waits for an answer to a question with these rules; `deadline` in seconds from now."""
    run = await house.start(reply=reply)
    if "deadline" in rules:
        rules["deadline"] = house.clock.now() + timedelta(seconds=rules["deadline"])
    await house.settle(run, RunStatus.WAITING, question=question(run, **rules), waiting_kind=WaitingKind.CLARIFICATION)
    return run


async def approval(house: StateHouse, **rules: Any) -> Run:
    details = {"tool": "send_email", "arguments": MAIL, "digest": "d" * 64, "why": "approval: ask"}
    return await ask(
        house,
        **{
            "kind": ClarificationKind.CONFIRMATION,
            "purpose": "approval",
            "details": details,
            "digest": "d" * 64,
            "schema": MAIL_SCHEMA,
            **rules,
        },
    )


async def asked(house: StateHouse, run: Run) -> Clarification:
    found = await house.store.clarification(question(run).id)
    assert found is not None
    return found


async def give(house: StateHouse, run: Run, answer: Any, actor: Actor = ANNA, **more: Any) -> Clarification:
    return await house.store.answer(
        Answer(answer=answer, now=house.clock.now(), actor=actor, run_id=run.run_id, **more)
    )


async def send_all(house: StateHouse, owner: str = "p1") -> list[Delivery]:
    """Every message that is owed arrives, in turn, as a responder would send it."""
    store = DeliveryStore(house.database, house.clock)
    sent: list[Delivery] = []
    await house.later(seconds=2)
    while claimed := await store.claim(owner, 50):
        for delivery in claimed:
            sent.append(delivery)
            await store.finish(delivery, AttemptOutcome(status=DeliveryStatus.SENT, sent_ts=f"{delivery.seq}.5"))
        await house.later(seconds=2)
    return sent


async def test_a_question_keeps_all_that_was_asked_with_it(house: StateHouse) -> None:
    run = await approval(
        house,
        may_answer=("U0ANNA", "S0OPS"),
        not_requester=True,
        deadline=HOUR,
        on_deadline="escalate",
        default_answer=False,
        escalate_to="#ops",
        remind_seconds=600.0,
    )
    found = await asked(house, run)
    assert (found.purpose, found.tool, found.arguments, found.digest) == ("approval", "send_email", MAIL, "d" * 64)
    assert (found.may_answer, found.not_requester, found.requester) == (("U0ANNA", "S0OPS"), True, "tess")
    assert (found.on_deadline, found.escalate_to, found.default_answer) == ("escalate", "#ops", False)
    assert found.next_reminder == house.clock.now() + timedelta(seconds=600)
    (event,) = [event for event in house.announced.events if event.topic == "clarification.asked"]
    assert event.payload["purpose"] == "approval"


async def test_a_step_s_requester_is_whoever_asked_for_the_whole(house: StateHouse) -> None:
    parent = await house.start(mode="collaborative")
    children = (house.child(parent, "one"),)
    await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=children)
    (step,) = await house.claim()
    await house.settle(step.run, RunStatus.WAITING, question=question(step.run, not_requester=True))
    assert (await asked(house, step.run)).requester == "tess"


@pytest.mark.parametrize(
    "answer",
    [
        True,
        False,
        {"approved": True},
        {"approved": True, "arguments": {"to": "me@example.org"}},
        {"approved": False, "reason": "too soon"},
    ],
)
async def test_an_approval_is_answered_in_either_form(house: StateHouse, answer: object) -> None:
    run = await approval(house)
    assert (await give(house, run, answer)).answer == answer
    assert len(await house.claim()) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("yes", "approved"),
        ({}, "approved"),
        ({"approved": "yes"}, "approved"),
        ({"approved": True, "more": 1}, "approved"),
        ({"approved": True, "arguments": {"to": 5, "cc": "x"}}, "to: 5 is not of type 'string'"),
        ({"approved": True, "arguments": {"to": 5, "cc": "x"}}, "'cc' was unexpected"),
        ({"approved": True, "arguments": {"subject": "x"}}, "'to' is a required property"),
        ({"approved": True, "arguments": "x"}, "arguments: not an object"),
        ({"approved": False, "arguments": MAIL}, "only an approval has"),
        ({"approved": False, "reason": 5}, "reason: not a text"),
    ],
)
async def test_an_approval_of_the_wrong_form_names_each_problem(house: StateHouse, answer: object, said: str) -> None:
    run = await approval(house)
    with pytest.raises(InvalidInputError) as refused:
        await give(house, run, answer)
    assert said in refused.value.message
    assert (refused.value.code, refused.value.field) == ("invalid_answer", "answer")
    assert (await asked(house, run)).status is ClarificationStatus.ASKED


async def test_arguments_that_people_changed_are_judged_before_anything_is_recorded(house: StateHouse) -> None:
    judged: list[dict[str, Any]] = []

    async def judge(question: Clarification, arguments: Mapping[str, Any]) -> list[str]:
        judged.append({"tool": question.tool, **arguments})
        return ["they are a rival", "and far away"] if "rival" in arguments["to"] else []

    house.store = Store(house.database, house.announced, house.clock, judge_edit=judge)
    run = await approval(house, may_answer=("U0ANNA",))
    denied = {"approved": True, "arguments": {"to": "boss@rival.example"}}
    with pytest.raises(InvalidInputError, match=r"they are a rival; and far away\. The question stays open") as refused:
        await give(house, run, denied)
    assert (refused.value.code, refused.value.field) == ("invalid_answer", "answer")
    assert (await asked(house, run)).status is ClarificationStatus.ASKED
    assert await house.rows(operations) == []

    judged.clear()
    with pytest.raises(ForbiddenError):
        await give(house, run, denied, BERT)
    with pytest.raises(InvalidInputError, match="'to' is a required property"):
        await give(house, run, {"approved": True, "arguments": {"subject": "rival"}})
    assert judged == [], "who may not answer, and what has the wrong form, is nobody's to judge"
    allowed = {"approved": True, "arguments": {"to": "me@example.org"}}
    assert (await give(house, run, allowed)).answer == allowed
    assert judged == [{"tool": "send_email", "to": "me@example.org"}]
    with pytest.raises(ConflictError):
        await give(house, run, denied)
    with pytest.raises(NotFoundError):
        await house.store.answer(Answer(answer=denied, now=house.clock.now(), actor=ANNA, clarification_id="f" * 32))


@pytest.mark.parametrize("answer", [True, False, {"approved": True}, {"approved": True, "arguments": MAIL}])
async def test_a_call_that_nobody_changed_is_not_judged_again(house: StateHouse, answer: object) -> None:
    async def judge(question: Clarification, arguments: Mapping[str, Any]) -> list[str]:
        return [f"{question.tool} with {arguments} is not to be judged"]

    house.store = Store(house.database, house.announced, house.clock, judge_edit=judge)
    run = await approval(house)
    assert (await give(house, run, answer)).answer == answer


@pytest.mark.parametrize(
    ("schema", "wrong", "said", "right"),
    [
        (MAIL_SCHEMA, "text", "is not of type 'object'", {"to": "x"}),
        ({"type": "string", "minLength": 3}, "ab", "too short", "abc"),
        ({"type": "array", "items": {"type": "integer"}}, [1, "b"], "1: 'b' is not of type 'integer'", [1, 2]),
        ({"enum": [1, 2]}, 3, "3 is not one of [1, 2]", 2),
    ],
)
async def test_an_answer_by_a_schema_fits_it(
    house: StateHouse, schema: dict[str, Any], wrong: object, said: str, right: object
) -> None:
    run = await ask(house, schema=schema)
    with pytest.raises(InvalidInputError) as refused:
        await give(house, run, wrong)
    assert said in refused.value.message
    assert (await give(house, run, right)).answer == right


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "bogus"},
        {"$ref": "https://schemas.example/x.json"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#"},
        {"type": "object", "properties": 5},
    ],
)
async def test_nothing_fits_a_schema_that_is_none_and_nothing_is_fetched(
    house: StateHouse, schema: dict[str, Any]
) -> None:
    run = await ask(house, schema=schema)
    with pytest.raises(InvalidInputError, match="cannot be used"):
        await give(house, run, "x")


@pytest.mark.parametrize(
    ("rules", "actor", "groups"),
    [
        ({"may_answer": ("U0ANNA",)}, BERT, frozenset()),
        ({"may_answer": ("U0ANNA",)}, TOKEN, frozenset()),
        ({"may_answer": ("S0OPS",)}, BERT, frozenset({"S0DEV"})),
        ({"may_answer": ("S0OPS",)}, TOKEN, frozenset({"S0OPS"})),
        ({"may_answer": ("S0OPS",)}, Actor(kind="user", id="S0OPS", via="slack"), frozenset()),
        ({"not_requester": True, "requester": "U0BERT"}, BERT, frozenset()),
        ({"not_requester": True, "requester": "U0BERT", "may_answer": ("U0BERT",)}, BERT, frozenset()),
        ({"not_requester": True, "requester": "U0BERT", "may_answer": ("S0OPS",)}, BERT, frozenset({"S0OPS"})),
        ({"not_requester": True, "requester": "token"}, TOKEN, frozenset()),
    ],
)
async def test_G7_whoever_may_not_answer_changes_nothing_and_hears_who_may(
    house: StateHouse, rules: dict[str, Any], actor: Actor, groups: frozenset[str]
) -> None:
    run = await approval(house, **rules)
    with pytest.raises(ForbiddenError) as refused:
        await give(house, run, True, actor, groups=groups, answered_by="U0ANNA")
    assert refused.value.code == "may_not_answer"
    for name in rules.get("may_answer", ()):
        assert name in refused.value.message
    assert (await asked(house, run)).status is ClarificationStatus.ASKED
    assert await house.rows(operations) == []
    assert await house.status(run.run_id) is RunStatus.WAITING


@pytest.mark.parametrize(
    ("rules", "actor", "groups"),
    [
        ({}, TOKEN, frozenset()),
        ({"may_answer": ("U0ANNA",)}, ANNA, frozenset()),
        ({"may_answer": ("U0ANNA", "token")}, TOKEN, frozenset()),
        ({"may_answer": ("S0OPS",)}, BERT, frozenset({"S0OPS"})),
        ({"not_requester": True, "requester": "U0BERT"}, ANNA, frozenset()),
        ({"not_requester": True, "requester": "U0BERT"}, TOKEN, frozenset()),
    ],
)
async def test_whoever_may_answer_does(
    house: StateHouse, rules: dict[str, Any], actor: Actor, groups: frozenset[str]
) -> None:
    run = await approval(house, **rules)
    assert (await give(house, run, True, actor, groups=groups)).answered_by == actor.id


async def test_G7_nobody_answers_and_the_question_expires(house: StateHouse) -> None:
    run = await approval(house, deadline=HOUR)
    await house.later(seconds=HOUR - 1)
    await house.store.sweep_questions()
    assert (await asked(house, run)).status is ClarificationStatus.ASKED
    await house.later(seconds=1)
    await house.store.sweep_questions()
    expired = await asked(house, run)
    assert (expired.status, expired.answer, expired.answered_by) == (ClarificationStatus.EXPIRED, None, None)
    assert len(await house.claim()) == 1
    (told,) = [event for event in house.announced.events if event.topic == "clarification.expired"]
    assert told.payload["purpose"] == "approval"


async def test_a_question_that_waits_outlives_its_deadline(house: StateHouse) -> None:
    run = await approval(house, deadline=HOUR, on_deadline="wait")
    await house.later(days=30)
    await house.store.sweep_questions()
    assert await house.status(run.run_id) is RunStatus.WAITING
    assert (await give(house, run, True)).status is ClarificationStatus.ANSWERED


async def test_a_default_is_taken_in_time_and_says_so(house: StateHouse) -> None:
    run = await ask(house, deadline=HOUR, on_deadline="default", default_answer="Berlin")
    await house.later(seconds=HOUR)
    await house.store.sweep_questions()
    taken = await asked(house, run)
    assert (taken.status, taken.answer, taken.answered_by) == (ClarificationStatus.ANSWERED, "Berlin", "default")
    assert len(await house.claim()) == 1
    assert house.announced.topics().count("clarification.answered") == 1
    with pytest.raises(ConflictError, match="default answered 'Berlin'"):
        await give(house, run, "Paris")


async def test_a_default_that_is_no_answer_to_this_question_is_not_taken(house: StateHouse) -> None:
    run = await approval(house, deadline=HOUR, on_deadline="default", default_answer="Berlin")
    await house.later(seconds=HOUR)
    await house.store.sweep_questions()
    assert (await asked(house, run)).status is ClarificationStatus.EXPIRED


async def test_an_escalated_question_is_asked_once_more_elsewhere_and_then_expires(house: StateHouse) -> None:
    run = await approval(house, reply=True, deadline=HOUR, on_deadline="escalate", escalate_to="#ops")
    begun = house.clock.now()
    await send_all(house)
    await house.clock.advance(HOUR)
    for _ in range(3):
        await house.store.sweep_questions()
    escalated = await asked(house, run)
    assert escalated.status is ClarificationStatus.ASKED
    assert escalated.escalated_at is not None
    assert escalated.deadline is not None
    assert timedelta(hours=2) <= escalated.deadline - begun < timedelta(hours=2, minutes=1)
    (copy,) = await send_all(house)
    assert (copy.kind, copy.target.channel, copy.target.thread_ts, copy.target.team) == ("question", "#ops", None, "T1")
    await house.clock.advance(HOUR)
    await house.store.sweep_questions()
    assert (await asked(house, run)).status is ClarificationStatus.EXPIRED
    edits = await send_all(house)
    assert {(edit.kind, edit.target.channel) for edit in edits} == {("answered", "C1"), ("answered", "#ops")}


async def test_reminders_are_replies_to_the_question_and_at_most_ten(house: StateHouse) -> None:
    run = await approval(house, reply=True, remind_seconds=600.0)
    (first,) = await send_all(house)
    said: list[Delivery] = []
    for _ in range(3 * MAX_REMINDERS):
        await house.later(seconds=300)
        await house.store.sweep_questions()
        await house.store.sweep_questions()
        said += await send_all(house)
    assert [reminder.kind for reminder in said] == ["reminder"] * MAX_REMINDERS
    assert [(reminder.body or {})["number"] for reminder in said] == list(range(1, MAX_REMINDERS + 1))
    assert {(each.target.channel, each.target.thread_ts) for each in said} == {("C1", first.target.thread_ts)}
    assert (await asked(house, run)).next_reminder is None
    await give(house, run, True)
    assert len(await send_all(house)) == MAX_REMINDERS + 1


async def test_reminders_that_an_outage_prevented_are_not_made_up_for(house: StateHouse) -> None:
    run = await approval(house, reply=True, remind_seconds=600.0)
    await send_all(house)
    await house.later(seconds=600 * 5 + 10)
    await house.store.sweep_questions()
    await house.store.sweep_questions()
    assert [each.kind for each in await send_all(house)] == ["reminder"]
    following = (await asked(house, run)).next_reminder
    assert following is not None
    assert following - (await asked(house, run)).asked_at == timedelta(seconds=600 * 6)


async def test_a_question_without_a_message_is_reminded_of_nowhere(house: StateHouse) -> None:
    run = await approval(house, remind_seconds=600.0)
    await house.later(seconds=601)
    await house.store.sweep_questions()
    assert await house.rows(deliveries) == []
    assert (await asked(house, run)).status is ClarificationStatus.ASKED


async def test_G7_many_sweepers_and_an_answer_at_once_do_each_thing_once(house: StateHouse) -> None:
    late = [await ask(house, reply=True, deadline=HOUR) for _ in range(5)]
    up = [await ask(house, reply=True, deadline=HOUR, on_deadline="escalate", escalate_to="#ops") for _ in range(5)]
    reminded = [await ask(house, reply=True, remind_seconds=HOUR) for _ in range(5)]
    await send_all(house)
    await house.later(seconds=HOUR)
    announced = [Announced() for _ in range(6)]
    sweepers = [Store(house.database, each, house.clock) for each in announced]
    answering = (*late, *up)
    outcomes = await asyncio.gather(
        *(give(house, run, "Berlin") for run in answering[::2]),
        *(store.sweep_questions() for store in sweepers),
        *(give(house, run, "Berlin") for run in answering[1::2]),
        return_exceptions=True,
    )
    assert outcomes[5:11] == [None] * 6
    answered = dict(zip((*answering[::2], *answering[1::2]), (*outcomes[:5], *outcomes[11:]), strict=True))
    found = {row["id"]: row for row in await house.rows(clarifications)}
    for run, outcome in answered.items():
        row = found[question(run).id]
        won = not isinstance(outcome, BaseException)
        assert won or isinstance(outcome, ConflictError)
        expired = run in late and not won
        assert row["status"] == ("answered" if won else "expired" if expired else "asked")
    for run in late:
        assert await house.status(run.run_id) is RunStatus.QUEUED
    owed = [row for row in await house.rows(deliveries) if row["status"] == "planned"]
    assert sum(row["kind"] == "reminder" for row in owed) == len(reminded)
    assert sum(row["kind"] == "question" for row in owed) <= len(up)
    assert sum(row["kind"] == "answered" for row in owed) == len(late) + len(up)
    topics = [topic for each in (*announced, house.announced) for topic in each.topics()]
    ended = topics.count("clarification.expired") + topics.count("clarification.answered")
    assert ended == len(late) + len(up)


async def test_all_messages_of_a_question_are_closed_wherever_it_was_answered(house: StateHouse) -> None:
    run = await approval(
        house, reply=True, deadline=HOUR, on_deadline="escalate", escalate_to="C0OPS", remind_seconds=1800.0
    )
    shown = await send_all(house)
    await house.later(seconds=1800)
    await house.store.sweep_questions()
    shown += await send_all(house)
    await house.later(seconds=1800)
    await house.store.sweep_questions()
    shown += await send_all(house)
    assert [each.kind for each in shown] == ["question", "reminder", "question"]
    house.announced.wakes.clear()
    await give(house, run, True, TOKEN)
    assert "delivery.planned" in house.announced.wakes
    edits = await send_all(house)
    assert [edit.kind for edit in edits] == ["answered"] * 3


async def test_a_message_that_arrives_after_the_answer_is_closed_too(house: StateHouse) -> None:
    run = await approval(house, reply=True)
    store = DeliveryStore(house.database, house.clock)
    (under_way,) = await store.claim("p1", 10)
    await give(house, run, True)
    assert await send_all(house, "p2") == []
    await store.finish(under_way, AttemptOutcome(status=DeliveryStatus.SENT, sent_ts="7.5"))
    (edit,) = await send_all(house)
    assert (edit.kind, edit.body) == ("answered", {"message_ts": "7.5"})


async def test_G7_after_a_cancel_and_after_a_timeout_nobody_waits_for_an_answer(house: StateHouse) -> None:
    run = await approval(house, reply=True)
    await send_all(house)
    await house.store.request_cancel(run.run_id, ANNA)
    with pytest.raises(ConflictError) as late:
        await give(house, run, True)
    assert late.value.code == "closed"
    assert [edit.kind for edit in await send_all(house) if edit.kind == "answered"] == ["answered"]
    other = await approval(house, deadline=HOUR)
    await house.later(seconds=HOUR)
    await house.store.sweep_questions()
    (again,) = await house.claim()
    await house.settle(again.run, RunStatus.TIMED_OUT)
    with pytest.raises(ConflictError):
        await give(house, other, True)
    assert await house.status(other.run_id) is RunStatus.TIMED_OUT


async def test_G7_after_thirty_days_and_a_restart_of_everything_an_answer_still_counts(house: StateHouse) -> None:
    run = await approval(house, reply=True, may_answer=("U0ANNA",))
    await send_all(house)
    await house.later(days=31)
    await Retention(house.database, house.clock, days=30).sweep()
    later = StateHouse(house.database, clock=house.clock)
    await later.store.sweep_questions()
    assert await later.status(run.run_id) is RunStatus.WAITING
    with pytest.raises(ForbiddenError):
        await give(later, run, True, BERT)
    await give(later, run, {"approved": True, "arguments": {"to": "me@example.org"}})
    assert [edit.kind for edit in await send_all(later)] == ["answered"]
    (again,) = await later.claim()
    assert again.run.run_id == run.run_id
    (kept,) = await later.store.answers_of(run.run_id)
    assert kept.answer == {"approved": True, "arguments": {"to": "me@example.org"}}


async def test_a_question_of_the_release_before_is_everybody_s_and_expires(house: StateHouse) -> None:
    run = await ask(house, deadline=HOUR)
    new = ("purpose", "details", "may_answer", "requester", "on_deadline")

    def forget(connection: Any) -> None:
        connection.execute(clarifications.update().values(dict.fromkeys(new)))

    await house.database.write(forget)
    old = await asked(house, run)
    assert (old.purpose, old.may_answer, old.on_deadline) == ("question", (), "deny")
    await house.later(seconds=HOUR)
    await house.store.sweep_questions()
    assert (await asked(house, run)).status is ClarificationStatus.EXPIRED
