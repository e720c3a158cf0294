"""The checker of RELIABILITY.md, section 3: joins the ledgers of all who took part with the database.

accepted - ended = LOST, effects of one key over one = DOUBLED, ended - sent = GHOST; each must be empty. A request that
got no answer may have happened or not, but at most once.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2
import orjson

from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.state.codec import decode
from tests.support.storm import OPS, Sent
from tests.support.tool_server import ToolServer
from tests.support.waiting import wait_until

MARKER = re.compile(r"\b[mn]\d+-\d+(?:-\d+)?x\b")
REPEAT = "This may be a repeat"
APOLOGY = "Callboard c"
"""… cannot record this, … could not confirm this."""
TERMINAL = ("succeeded", "failed", "cancelled", "timed_out")
OUTSIDE = ("slack.events.command", "slack.events.m", "api.invoke", "crm.", "agent.input.")
"""The topics of what people and other systems sent; the steps of plans have the last one too."""
MOST_SHOWN = 12


class Books(Protocol):
    """Where a system keeps what is true."""

    async def query(self, statement: str) -> list[dict[str, Any]]:
        """The rows that a statement finds, beside whoever else uses the database."""


class Running(Protocol):
    """A system that can be spoken to."""

    @property
    def told(self) -> str:
        """For the message of a failing test."""

    def client(self) -> httpx2.AsyncClient:
        """A client of the API."""


@dataclass(eq=False)
class Findings:
    """What is wrong, a line each; `report` is empty when nothing is."""

    lines: list[str] = field(default_factory=list)

    def add(self, kind: str, what: object) -> None:
        self.lines.append(f"{kind}: {what}")

    def expect(self, holds: bool, kind: str, what: object) -> None:
        if not holds:
            self.add(kind, what)

    @property
    def report(self) -> str:
        counted = Counter(line.partition(":")[0] for line in self.lines)
        head = ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items()))
        return "\n".join([head, *self.lines[:MOST_SHOWN]]) if self.lines else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the database says, joined by marker where a person's words are in it."""

    events: dict[str, list[dict[str, Any]]]
    runs: list[dict[str, Any]]
    deliveries: list[dict[str, Any]]
    effects: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    talks: dict[str, list[str]]
    states: dict[str, dict[str, Any]]
    occurrences: list[dict[str, Any]]
    open_rows: dict[str, int]


OPEN = {
    "runs": "SELECT count(*) FROM runs WHERE status NOT IN ('succeeded','failed','cancelled','timed_out')",
    "events": "SELECT count(*) FROM events WHERE routed_at IS NULL",
    "deliveries": "SELECT count(*) FROM deliveries WHERE status IN ('planned','attempting')",
    "outbox": "SELECT count(*) FROM outbox",
    "questions": "SELECT count(*) FROM clarifications WHERE status = 'asked'",
}
"""What is still to be done, by table."""


async def open_rows(books: Books) -> dict[str, int]:
    """The tables that are not at rest yet."""
    # One statement: what moves from one table to the next must not be missed in both.
    row = (await books.query("SELECT " + ", ".join(f"({count}) AS {name}" for name, count in OPEN.items())))[0]
    return {name: row[name] for name in OPEN if row[name]}


async def come_to_rest(books: Books, process: Running, *, within: float = 90.0) -> None:
    """Answers every question that is still open and waits until nothing is left to do, without another request.

    What nobody knows is not repeated, so that the tool server shows whether it was.
    """
    async with process.client() as client:

        async def at_rest() -> bool:
            asked = (await client.get("/api/v1/clarifications?status=asked")).json()
            for question in asked.get("clarifications", ()):
                answer = False if question["kind"] == "confirmation" else "Berlin"
                await client.post(f"/api/v1/agents/approve/{question['clarification_id']}", json={"answer": answer})
            await asyncio.sleep(0.1)
            return not await open_rows(books)

        try:
            await wait_until(at_rest, "everything has come to rest", within=within)
        except AssertionError as error:
            raise AssertionError(f"{error}: {await open_rows(books)}\n{process.told}") from error


async def read_records(books: Books) -> Records:
    events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in await books.query("SELECT * FROM events ORDER BY seq"):
        event = {**dict(row), "payload": decode(row["payload"])}
        if event["topic"].startswith(OUTSIDE) and "parent_run_id" not in event["payload"]:
            events[_marker(event["payload"].get("text")) or "?"].append(event)
    talks: defaultdict[str, list[str]] = defaultdict(list)
    for row in await books.query("SELECT * FROM conversation_messages ORDER BY conversation_id, n"):
        message = decode(row["message"])
        if message["role"] == "user":
            talks[row["conversation_id"]].append(message["content"])
    runs = await books.query(
        "SELECT runs.*, run_io.output AS output, run_io.error AS error FROM runs JOIN run_io USING (run_id)"
    )
    return Records(
        events=dict(events),
        runs=[{**dict(row), "output": None if row["output"] is None else decode(row["output"])} for row in runs],
        deliveries=[dict(row) for row in await books.query("SELECT * FROM deliveries ORDER BY seq")],
        effects=[dict(row) for row in await books.query("SELECT * FROM effects")],
        questions=[dict(row) for row in await books.query("SELECT * FROM clarifications")],
        talks=dict(talks),
        states={row["conversation_id"]: dict(row) for row in await books.query("SELECT * FROM agent_states")},
        occurrences=[dict(row) for row in await books.query("SELECT * FROM occurrences")],
        open_rows=await open_rows(books),
    )


def check(ledger: Sequence[Sent], messages: Sequence[LocalMessage], tools: ToolServer, records: Records) -> Findings:
    """Everything that is not as promised."""
    found = Findings()
    found.expect(not records.open_rows, "UNFINISHED", records.open_rows)
    _check_intake(ledger, records, found)
    _check_runs(ledger, records, found)
    _check_messages(ledger, messages, records, found)
    _check_deliveries(messages, records, found)
    _check_tools(ledger, tools, records, found)
    _check_talks(ledger, records, found)
    _check_ticks(messages, records, found)
    return found


def _check_intake(ledger: Sequence[Sent], records: Records, found: Findings) -> None:
    """Every accepted request is one event; no event was never sent."""
    for sent in ledger:
        events = records.events.get(sent.marker, [])
        found.expect(not sent.accepted or bool(events), "LOST", f"{sent} is no event")
        found.expect(len(events) <= 1, "DOUBLED", f"{sent} is {len(events)} events")
    known = {sent.marker for sent in ledger}
    for marker in records.events:
        found.expect(marker in known, "GHOST", f"event of {marker!r}")


def _check_runs(ledger: Sequence[Sent], records: Records, found: Findings) -> None:
    """One run an event, ended well, with the answer that belongs to it."""
    by_event: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in records.runs:
        if run["parent_run_id"] is None:
            by_event[run["event_id"]].append(run)
        found.expect(run["status"] in TERMINAL, "UNFINISHED", f"{run['agent']} run {run['run_id']} is {run['status']}")
        found.expect(run["status"] == "succeeded", "NOT SUCCEEDED", f"{run['agent']} {run['status']} {run['error']}")
    for sent in ledger:
        for event in records.events.get(sent.marker, []):
            runs = by_event[event["event_id"]]
            found.expect(len(runs) == 1, "LOST" if not runs else "DOUBLED", f"{sent} has {len(runs)} runs")
            for run in runs:
                found.expect(run["agent"] == sent.agent, "WRONG", f"{sent} went to {run['agent']}")
                found.expect(sent.marker in str(run["output"]), "WRONG", f"{sent} ended as {run['output']!r}")
                found.expect(sent.task_id in (None, run["run_id"]), "WRONG", f"{sent} is run {run['run_id']}")


def _check_messages(
    ledger: Sequence[Sent], messages: Sequence[LocalMessage], records: Records, found: Findings
) -> None:
    """One answer in Slack for each accepted request, two only where the second says that it may be a repeat."""
    kinds = {row["id"]: row["kind"] for row in records.deliveries}
    answers: defaultdict[str, list[LocalMessage]] = defaultdict(list)
    for message in messages:
        if message.via == "response_url" and APOLOGY in message.shown:
            continue  # said by the gateway itself, because nothing could be recorded
        marker, kind = _marker(message.shown), kinds.get(_delivery_of(message) or "")
        found.expect(kind is not None, "GHOST", f"a message without a delivery: {message.shown}")
        if marker is not None and kind in ("result", "failure"):
            answers[marker].append(message)
    for sent in ledger:
        seen = answers.pop(sent.marker, [])
        plain = [message for message in seen if REPEAT not in message.shown]
        if not sent.in_slack:
            found.expect(not seen, "GHOST", f"{sent} was answered in Slack")
            continue
        found.expect(bool(seen) or sent.marker not in records.events, "LOST", f"{sent} has no answer in Slack")
        found.expect(not seen or sent.marker in records.events, "GHOST", f"{sent} is answered and no event")
        # Each message that says it may be a repeat is held against its own delivery below.
        found.expect(len(plain) <= 1, "DOUBLED", f"{sent} has {len(plain)} answers")
        for message in seen:
            found.expect(message.channel == sent.channel, "WRONG", f"{sent} is answered in {message.channel}")
    for marker in answers:
        found.add("GHOST", f"answer to {marker}")


def _check_deliveries(messages: Sequence[LocalMessage], records: Records, found: Findings) -> None:
    """Each delivery that was sent is one message; one whose outcome nobody knows is said again, and says so."""
    shown = Counter(_delivery_of(message) for message in messages)
    followed = {
        (orjson.loads(row["body"]) or {}).get("repeats"): row for row in records.deliveries if row["body"] is not None
    }
    for row in records.deliveries:
        count, what = shown[row["id"]], f"delivery {row['id']} ({row['kind']}, {row['status']})"
        if row["kind"] == "answered":
            continue  # it changes the message that asked
        match row["status"]:
            case "sent":
                # A question that was answered meanwhile shows the footer of the delivery that closed it.
                found.expect(
                    count == 1 or row["kind"] == "question", "LOST" if not count else "DOUBLED", f"{what}: {count}"
                )
            case "unknown":
                found.expect(count <= 1, "DOUBLED", f"{what}: {count}")
                found.expect(row["id"] in followed, "LOST", f"{what} is not said again")
            case _:
                found.add("LOST", f"{what} {row['error']}")


def _check_tools(ledger: Sequence[Sent], tools: ToolServer, records: Records, found: Findings) -> None:
    """No key twice; no words twice; nothing that was never accepted; nothing missing but what a person gave up."""
    for key, count in Counter(call.key for call in tools.calls).items():
        found.expect(count == 1 and bool(key), "DOUBLED", f"{count} calls under the key {key!r}")
    calls = Counter(call.body for call in tools.calls)
    given_up = {row["run_id"] for row in records.questions if row["kind"] == "confirmation"}
    posts = {sent.marker: sent for sent in ledger if sent.agent in ("poster", "team")}
    for marker, count in calls.items():
        found.expect(count == 1, "DOUBLED", f"{marker} was posted {count} times")
        found.expect(marker in posts and marker in records.events, "GHOST", f"{marker} was posted")
    runs = {(run["root_run_id"] or run["run_id"], run["run_id"]) for run in records.runs if run["agent"] == "poster"}
    by_event = {run["event_id"]: run["run_id"] for run in records.runs if run["parent_run_id"] is None}
    for marker in posts:
        for event in records.events.get(marker, []):
            root = by_event.get(event["event_id"])
            asked = any(run in given_up for owner, run in runs if owner == root)
            found.expect(calls[marker] == 1 or asked, "LOST", f"{marker} was never posted")
    for row in records.effects:
        found.expect(row["status"] != "attempting", "UNFINISHED", f"effect {row['key']} of {row['run_id']}")


def _check_talks(ledger: Sequence[Sent], records: Records, found: Findings) -> None:
    """Each conversation remembers every note once, in the order of intake, and has counted its turns."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for sent in ledger:
        if sent.conversation is not None and sent.marker in records.events:
            wanted[sent.conversation].append(sent.marker)
    for name, markers in wanted.items():
        talk = records.talks.get(name, [])
        found.expect(talk == markers, "ORDER", f"{name}: {_difference(markers, talk)}")
        state = records.states.get(name, {})
        expected = (len(markers), len(markers))
        found.expect((state.get("version"), state.get("turns")) == expected, "ORDER", f"{name}: {state} not {expected}")


def _check_ticks(messages: Sequence[LocalMessage], records: Records, found: Findings) -> None:
    """An occurrence that fired has its run, and no two have one."""
    fired = [row for row in records.occurrences if row["status"] in ("fired", "caught_up")]
    runs = Counter(run["run_id"] for run in records.runs if run["agent"] == "pulse")
    for row in fired:
        found.expect(runs[row["run_id"]] == 1, "LOST", f"tick {row['nominal']} has {runs[row['run_id']]} runs")
    found.expect(len(runs) == len(fired), "GHOST", f"{len(runs)} runs of {len(fired)} ticks")
    channel = "C_" + OPS[1:].upper()
    told = [message for message in messages if message.channel == channel and REPEAT not in message.shown]
    found.expect(len(told) <= len(fired), "DOUBLED", f"{len(told)} messages of {len(fired)} ticks")


def _delivery_of(message: LocalMessage) -> str | None:
    for block in message.blocks:
        if block.get("type") == "context" and str(block.get("block_id", "")).startswith("callboard:"):
            return str(block["block_id"]).partition(":")[2]
    return None


def _marker(text: object) -> str | None:
    match = MARKER.search(str(text))
    return None if match is None else match[0]


def _difference(wanted: Sequence[str], talk: Iterable[str]) -> str:
    have = list(talk)
    missing = [item for item in wanted if item not in have]
    doubled = [item for item, count in Counter(have).items() if count > 1]
    return f"missing {missing[:5]}, doubled {doubled[:5]}, {len(have)} of {len(wanted)}"
