"""What the demo shows, one function a thing; each raises a CallboardError when it does not happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from callboard.clock import Clock
from callboard.demo.process import CallboardProcess
from callboard.demo.screen import Screen
from callboard.errors import UnavailableError
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_simulator import Acknowledged, SlackSimulator

PERSON = "anna"
WITHIN_SECONDS = 15.0


@dataclass(slots=True, kw_only=True)
class Stage:
    """The running system, the Slack beside it, and what later scenes need of earlier ones."""

    callboard: CallboardProcess
    slack: LocalSlack
    secret: str
    edits: Path
    screen: Screen
    clock: Clock
    plan_trace: str = ""

    async def open(self) -> None:
        """Start the system."""
        screen = self.screen
        screen.say("Callboard, all of it in one process: SQLite, no account, no key, no server, no network.")
        seconds = await self.callboard.start()
        agents = (await self.callboard.get("agents"))["agents"]
        screen.line("callboard", f"up at {self.callboard.url} with {len(agents)} agents", f"{seconds:.1f} s")
        screen.line("slack", f"a local one at {self.slack.url}: signed requests in, Web API calls out")

    def person(self) -> SlackSimulator:
        """Somebody who types into the local Slack."""
        return SlackSimulator(self.slack, gateway_url=self.callboard.url, signing_secret=self.secret, clock=self.clock)

    async def ask(self, line: str, agent: str) -> LocalMessage:
        """Type a line and wait for what Slack shows as its answer."""
        begun = self.clock.monotonic()
        async with self.person() as person:
            sent = await self.typed(person, line)
            answer = await person.answer_to(sent, within_seconds=WITHIN_SECONDS)
        spent = _ms(self.clock.monotonic() - begun)
        self.screen.line(agent, answer.text, f"in Slack {spent} after it was typed")
        return answer

    async def typed(self, person: SlackSimulator, line: str) -> Acknowledged:
        """Type a line, which the gateway must take."""
        self.screen.line(PERSON, line)
        sent = await person.say(line)
        if not sent.accepted:
            raise UnavailableError(f"the gateway answered {sent.status}: {sent.body}")
        self.screen.line("gateway", f"signature good, event on disk, {sent.status}", _ms(sent.seconds))
        return sent

    async def newest_run(self, agent: str) -> dict[str, Any]:
        """The last run of an agent, as the API shows it."""
        runs = (await self.callboard.get("runs", agent=agent, limit=1))["runs"]
        if not runs:
            raise UnavailableError(f"agent {agent!r} has no run")
        newest: dict[str, Any] = runs[0]
        return newest

    async def until(self, probe: Callable[[], Awaitable[Any]], what: str) -> Any:
        """The first true answer of `probe`; UnavailableError when there is none in time."""
        deadline = self.clock.monotonic() + WITHIN_SECONDS
        while True:
            answer = await probe()
            if answer:
                return answer
            if self.clock.monotonic() >= deadline:
                raise UnavailableError(f"not within {WITHIN_SECONDS:g} s: {what}")
            await self.clock.sleep(0.02)


async def slash_command(stage: Stage) -> None:
    await stage.ask("/hello Callboard", "greeter")
    run = await stage.newest_run("greeter")
    stage.screen.good(f"run {run['status']}, attempt {run['attempt']}, trace {run['trace_id']}")


async def tick(stage: Stage) -> None:
    async def fired() -> Any:
        listing = await stage.callboard.get("schedules/history", agent="lookout", limit=20)
        ended = [each for each in listing["occurrences"] if each["task_id"] is not None]
        return ended[0] if ended else None

    occurrence = await stage.until(fired, "the schedule 'every-two-seconds' fires")
    stage.screen.line("clock", f"{occurrence['schedule_id']}: {occurrence['nominal_time']} {occurrence['status']}")
    async with stage.person() as person:
        message = await person.wait_for(
            lambda message: message.channel == "C_OPS", "a report in #ops", within_seconds=WITHIN_SECONDS
        )
    stage.screen.line("lookout", message.text, "delivered to #ops")
    start = _spring(stage.clock.now().year + 1) - timedelta(days=2)
    asked = ["schedules", "preview", "lookout", "--schedule", "at-night", "--count", "3", "--start", f"{start}"]
    stage.screen.line("cron", "30 2 * * * in Europe/Berlin, when the clocks change:")
    stage.screen.command(f"callboard {' '.join(asked)}", await stage.callboard.command(*asked))


async def file_dropped(stage: Stage) -> None:
    seconds = await _write(stage, "poet.yaml", _is_in_force)
    stage.screen.line("folder", "poet.yaml appears; the agent is in force", _ms(seconds))
    await stage.ask("/haiku frog", "poet")


async def file_broken(stage: Stage) -> None:
    seconds = await _write(stage, "poet-broken.yaml", _is_refused)
    agent = await stage.callboard.get("agents/poet")
    refused = agent["rejected"]
    stage.screen.line("folder", "poet.yaml is saved with a mistake; the edit is refused", _ms(seconds))
    place = f"{refused['file']}:{refused['line']}:{refused['column']}"
    stage.screen.refused(f"{place}: {refused['message']}" + (f" ({refused['hint']})" if refused["hint"] else ""))
    stage.screen.line("callboard", f"poet: version {agent['version']} is still in force")
    await stage.ask("/haiku toad", "poet")


async def plan_with_question(stage: Stage) -> None:
    async with stage.person() as person:
        sent = await stage.typed(person, "/trip a weekend in spring")
        question = await person.wait_for(
            lambda message: bool(message.buttons) and sent.channel == message.channel,
            "a question with buttons",
            within_seconds=WITHIN_SECONDS,
        )
        buttons = " ".join(f"[{button['text']['text']}]" for button in question.buttons)
        stage.screen.line("chooser", f"{question.text}  {buttons}")
        run = await stage.newest_run("trip")
        if run["status"] != "waiting":
            raise UnavailableError(f"the plan does not wait for the answer: it is {run['status']}")
        stage.screen.line("trip", "waiting for a person: a row in the database, no process or slot is held")
        stage.screen.line(PERSON, "clicks [Paris]")
        await person.click(question, "Paris")
        answer = await person.wait_for(
            lambda message: "The trip goes to" in message.text, "the plan's result", within_seconds=WITHIN_SECONDS
        )
    stage.screen.line("trip", answer.text)
    stage.plan_trace = run["trace_id"]
    steps = (await stage.callboard.get(f"runs/{run['run_id']}"))["steps"]
    done = ", ".join(f"{step['step_id']} {step['status']}" for step in steps)
    stage.screen.good(f"resumed where it stopped: {done}")


async def memory(stage: Stage) -> None:
    await stage.ask("/remember the milk is empty", "diary")
    stage.screen.line("kill -9", f"process {stage.callboard.pid} is gone, without a moment to write anything down")
    await stage.callboard.kill()
    seconds = await stage.callboard.start()
    stage.screen.line("callboard", "started again on the same folder", f"{seconds:.1f} s")
    answer = await stage.ask("/remember buy coffee too", "diary")
    if "Entry 2" not in answer.text:
        raise UnavailableError(f"the agent has forgotten its conversation: {answer.text!r}")
    stage.screen.good("the second entry: the first one was not forgotten")


async def story(stage: Stage) -> None:
    trace_id = stage.plan_trace
    stage.screen.command(f"callboard trace {trace_id}", await stage.callboard.command("trace", trace_id))
    lines = (await stage.callboard.command("logs", trace_id)).splitlines()
    stage.screen.command(f"callboard logs {trace_id} | wc -l", str(len(lines)))


SCENES: Sequence[tuple[str, Callable[[Stage], Awaitable[None]]]] = (
    ("A slash command from Slack is answered", slash_command),
    ("A tick of the clock fires", tick),
    ("A YAML file is dropped in and used, without a restart", file_dropped),
    ("A broken edit is refused, and the last good version goes on", file_broken),
    ("A plan of several agents stops for a person's answer, and resumes", plan_with_question),
    ("An agent remembers its conversation over kill -9", memory),
    ("The whole story of that plan, by its trace id", story),
)


def _spring(year: int) -> date:
    """When the clocks go forward in the European Union: the last Sunday of March."""
    last = date(year, 3, 31)
    return last - timedelta(days=last.isoweekday() % 7)


async def _write(stage: Stage, name: str, happened: Callable[[dict[str, Any]], bool]) -> float:
    """Save one of the edits as poet.yaml; the seconds until the listing shows that it was taken in."""
    source = (stage.edits / name).read_bytes()
    begun = stage.clock.monotonic()
    (stage.callboard.agents / "poet.yaml").write_bytes(source)

    async def seen() -> bool:
        listing = await stage.callboard.get("agents")
        return any(happened(agent) for agent in listing["agents"] if agent["name"] == "poet")

    await stage.until(seen, "the change of poet.yaml is taken in")
    return stage.clock.monotonic() - begun


def _is_in_force(agent: dict[str, Any]) -> bool:
    return "rejected" not in agent


def _is_refused(agent: dict[str, Any]) -> bool:
    return "rejected" in agent


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
