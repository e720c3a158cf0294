"""Slack's requests over real connections: what is acknowledged is stored, once, and nothing else is."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from sqlalchemy import Connection, func, select

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.integrations.slack_local_workspace import BOT_USER
from callboard.integrations.slack_signature import sign
from callboard.integrations.slack_wire import (
    JSON,
    Channel,
    Person,
    SlackRequest,
    event_callback,
    message_event,
    slash_command,
    url_verification,
)
from callboard.state.accepting import Accepted, EventDraft
from callboard.state.database import Database
from callboard.state.models import dedupe_keys, events
from tests.support.http_client import no_certificates
from tests.support.slack_app import SECRET
from tests.support.slack_world import World, slack_world
from tests.support.waiting import wait_until

ANNA = Person()
GENERAL = Channel()
PATHS = ["/slack/events", "/slack/commands", "/slack/interactions"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with slack_world(tmp_path, clock=ManualClock()) as opened:
        yield opened


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=world.url, timeout=20.0, trust_env=False, verify=no_certificates()
    ) as client:
        yield client


async def stored(database: Database) -> int:
    return await database.read(lambda connection: connection.execute(select(func.count(events.c.seq))).scalar_one())


async def topics(database: Database) -> list[str]:
    def read(connection: Connection) -> list[str]:
        return list(connection.execute(select(events.c.topic).order_by(events.c.seq)).scalars())

    return await database.read(read)


def typed(line: str, trigger_id: str = "t1", url: str = "https://hooks.slack.com/commands/1") -> SlackRequest:
    return slash_command(line, person=ANNA, channel=GENERAL, response_url=url, trigger_id=trigger_id)


def said(text: str, *, ts: str = "1763.000100", event_id: str = "Ev1", kind: str = "message") -> SlackRequest:
    return message_event(text, ts=ts, event_id=event_id, person=ANNA, channel=GENERAL, kind=kind)


async def send(http: httpx2.AsyncClient, world: World, request: SlackRequest, path: str = "") -> httpx2.Response:
    signed = request.signed(SECRET, world.slack.workspace.clock.now())
    return await http.post(path or signed.path, content=signed.body, headers=signed.headers)


@pytest.mark.parametrize("path", PATHS)
async def test_each_route_takes_every_one_of_slacks_formats(world: World, http: httpx2.AsyncClient, path: str) -> None:
    for request in (typed("/standup hi"), said("hello"), said(f"<@{BOT_USER}> hi", ts="1763.000200", event_id="Ev2")):
        assert (await send(http, world, request, path)).status_code == 200
    verified = await send(http, world, url_verification("3eZ"), path)
    assert (verified.status_code, verified.json()) == (200, {"challenge": "3eZ"})
    assert await topics(world.database) == [
        "slack.events.command.standup",
        "slack.events.message.channel",
        "slack.events.message.channel",
    ]


async def test_the_event_is_stored_with_the_trace_of_the_request(world: World, http: httpx2.AsyncClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    signed = typed("/standup hi").signed(SECRET, world.slack.workspace.clock.now())
    headers = {**signed.headers, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert (await http.post(signed.path, content=signed.body, headers=headers)).status_code == 200

    def read(connection: Connection) -> str:
        return str(connection.execute(select(events.c.trace_id)).scalar_one())

    assert await world.database.read(read) == trace


async def test_H12_a_trace_id_made_to_break_the_log_is_replaced(world: World, http: httpx2.AsyncClient) -> None:
    signed = typed("/standup hi").signed(SECRET, world.slack.workspace.clock.now())
    headers = {**signed.headers, "traceparent": '00-a","level":"x-00f067aa0ba902b7-01', "x-trace-id": 'a","b'}
    assert (await http.post(signed.path, content=signed.body, headers=headers)).status_code == 200

    def read(connection: Connection) -> str:
        return str(connection.execute(select(events.c.trace_id)).scalar_one())

    assert len(await world.database.read(read)) == 32


async def test_A4_the_same_event_four_times_at_once_and_again_is_one(world: World, http: httpx2.AsyncClient) -> None:
    clock = world.slack.workspace.clock
    assert isinstance(clock, ManualClock)
    for seconds in (0, 3, 57, 240):
        await clock.advance(seconds)
        replies = await asyncio.gather(*(send(http, world, said("hello")) for _ in range(4)))
        assert [reply.status_code for reply in replies] == [200] * 4
    assert await stored(world.database) == 1


async def test_A4_a_retry_whose_first_delivery_never_came_is_processed(world: World, http: httpx2.AsyncClient) -> None:
    signed = said("hello").signed(
        SECRET,
        world.slack.workspace.clock.now(),
        {"x-slack-retry-num": "1", "x-slack-retry-reason": "http_timeout"},
    )
    assert (await http.post(signed.path, content=signed.body, headers=signed.headers)).status_code == 200
    assert await stored(world.database) == 1


async def test_A4_one_message_under_eleven_event_ids_is_one_event(world: World, http: httpx2.AsyncClient) -> None:
    requests = [said("hello", event_id=f"Ev{number}") for number in range(11)]
    replies = await asyncio.gather(*(send(http, world, request) for request in requests))
    assert {reply.status_code for reply in replies} == {200}
    assert await stored(world.database) == 1


@pytest.mark.parametrize("order", [("message", "app_mention"), ("app_mention", "message")])
async def test_a_message_and_its_mention_are_one_event(
    world: World, http: httpx2.AsyncClient, order: tuple[str, str]
) -> None:
    for number, kind in enumerate(order):
        request = said(f"<@{BOT_USER}> hi", event_id=f"Ev{number}", kind=kind)
        assert (await send(http, world, request)).status_code == 200
    assert await stored(world.database) == 1


async def test_A5_a_command_sent_twice_runs_once_and_typed_twice_runs_twice(
    world: World, http: httpx2.AsyncClient
) -> None:
    for trigger in ("t1", "t1", "t2"):
        assert (await send(http, world, typed("/standup hi", trigger))).status_code == 200
    assert await stored(world.database) == 2


@pytest.mark.parametrize("path", PATHS)
async def test_A7_a_replay_within_five_minutes_is_not_executed_again(
    world: World, http: httpx2.AsyncClient, path: str
) -> None:
    clock = world.slack.workspace.clock
    assert isinstance(clock, ManualClock)
    signed = typed("/standup hi").signed(SECRET, clock.now())
    for _ in range(5):
        await clock.advance(60)
        assert (await http.post(path, content=signed.body, headers=signed.headers)).status_code == 200
    await clock.advance(1)
    assert (await http.post(path, content=signed.body, headers=signed.headers)).status_code == 401
    assert await stored(world.database) == 1


def forgeries(at: int) -> Iterable[tuple[str, list[tuple[bytes, bytes]], bytes]]:
    """What is sent, by name: raw headers beside the content type, and the body."""
    body = typed("/standup hi").body
    stamp, good = str(at).encode(), sign(SECRET, at, body).encode()
    t, s = b"x-slack-request-timestamp", b"x-slack-signature"
    yield "wrong secret", [(t, stamp), (s, sign("other", at, body).encode())], body
    for name, bad in {
        "truncated": good[:-2],
        "upper case": good.upper(),
        "v1": good.replace(b"v0", b"v1"),
        "empty": b"",
        "non-ascii": b"v0=\xc3\xa9\xff" + good[6:],
    }.items():
        yield f"signature {name}", [(t, stamp), (s, bad)], body
    for name, bad in {
        "words": b"abc",
        "empty": b"",
        "exponent": b"1e9",
        "negative": b"-1",
        "5000 digits": b"1" * 5000,
        "nan": b"NaN",
        "unicode": "١٧٦٣".encode(),
        "old": str(at - 301).encode(),
        "future": str(at + 301).encode(),
    }.items():
        signed = sign(SECRET, int(bad), body).encode() if name in ("old", "future") else good
        yield f"timestamp {name}", [(t, bad), (s, signed)], body
    yield "no timestamp", [(s, good)], body
    yield "no signature", [(t, stamp)], body
    yield "nothing", [], body
    yield "two timestamps", [(t, stamp), (t, stamp), (s, good)], body
    yield "two signatures", [(t, stamp), (s, good), (s, good)], body
    yield "reordered form", [(t, stamp), (s, good)], b"&".join(reversed(body.split(b"&")))
    yield "changed", [(t, stamp), (s, good)], body.replace(b"hi", b"ho")
    not_utf8 = b"command=%2Fstandup&text=\xff\xfe"
    yield "not utf-8", [(t, stamp), (s, sign(SECRET, at, not_utf8).encode())], not_utf8
    packed = gzip.compress(body)
    yield "gzip", [(t, stamp), (s, good), (b"content-encoding", b"gzip")], packed
    signed_packed = sign(SECRET, at, packed).encode()
    yield "signed gzip", [(t, stamp), (s, signed_packed), (b"content-encoding", b"gzip")], packed


@pytest.mark.parametrize("path", PATHS)
async def test_A6_every_forgery_is_answered_401_and_stores_nothing(
    world: World, http: httpx2.AsyncClient, path: str
) -> None:
    at = int(world.slack.workspace.clock.now().timestamp())
    for name, headers, body in forgeries(at):
        given = [(b"content-type", b"application/x-www-form-urlencoded"), *headers]
        reply = await http.post(path, content=body, headers=given)
        assert reply.status_code == 401, f"{name}: {reply.status_code}"
        assert reply.json()["error"]["code"] == "unauthorized"
        assert b"standup" not in reply.content, f"{name}: the answer shows the body"
    assert await stored(world.database) == 0


async def test_A6_a_body_sent_in_chunks_counts_by_its_signature(world: World, http: httpx2.AsyncClient) -> None:
    signed = typed("/standup hi").signed(SECRET, world.slack.workspace.clock.now())

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    good = await http.post(signed.path, content=pieces(signed.body), headers=signed.headers)
    bad = await http.post(signed.path, content=pieces(signed.body + b"&a=1"), headers=signed.headers)
    assert (good.status_code, bad.status_code) == (200, 401)


async def test_A6_A9_the_challenge_is_answered_only_when_signed(world: World, http: httpx2.AsyncClient) -> None:
    request = url_verification("3eZbrw1aB")
    reply = await http.post(request.path, content=request.body, headers={"content-type": JSON})
    assert reply.status_code == 401
    assert b"3eZbrw1aB" not in reply.content


async def test_without_a_signing_secret_everything_is_refused(tmp_path: Path) -> None:
    async with slack_world(tmp_path, secret=None) as world:
        reply = await world.simulator.post(typed("/standup hi"))
        assert reply.status_code == 401
        assert await stored(world.database) == 0


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b"command=%2Fstandup&text=hi"),
        ("application/x-www-form-urlencoded", b'{"type":"url_verification","challenge":"x"}'),
        ("text/plain", b'{"type":"url_verification","challenge":"x"}'),
        ("", b"command=%2Fstandup"),
        (JSON, b"[" * 10_000 + b"]" * 10_000),
        (JSON, b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        (JSON, b"[]"),
        (JSON, b'"text"'),
        (JSON, b""),
        (JSON, b'{"type":"event_callback","event":{"type":"message","user":"U1"}}'),
        ("application/x-www-form-urlencoded", b"payload=not+json"),
        ("application/x-www-form-urlencoded", b"payload=%5B%5D"),
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % number for number in range(10_000))),
        ("application/x-www-form-urlencoded", b"command=%2Fa&command=%2Fb"),
        ("application/x-www-form-urlencoded", b"command=%2Fstandup&text=%ff%fe"),
    ],
)
async def test_A8_what_is_not_slacks_format_is_400_when_signed_and_401_when_not(
    world: World, http: httpx2.AsyncClient, content_type: str, body: bytes
) -> None:
    request = SlackRequest(path="/slack/events", content_type=content_type, body=body)
    for path in PATHS:
        assert (await send(http, world, request, path)).status_code == 400
        unsigned = await http.post(path, content=body, headers={"content-type": content_type})
        assert unsigned.status_code == 401
    assert await stored(world.database) == 0


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 10 * 1024 * 1024])
async def test_A8_a_body_over_a_mebibyte_is_413_before_it_is_read(
    world: World, http: httpx2.AsyncClient, size: int
) -> None:
    reply = await http.post("/slack/events", content=b"x" * size, headers={"content-type": JSON})
    assert reply.status_code == 413
    assert await stored(world.database) == 0


@pytest.mark.slow
async def test_A8_a_hundred_megabytes_of_unknown_length_are_413_and_held_nowhere(
    world: World, http: httpx2.AsyncClient
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1600):
            yield b"x" * 65536

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = await http.post("/slack/events", content=endless(), headers={"content-type": JSON})
    assert reply.status_code == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
    assert (await send(http, world, typed("/standup hi"))).status_code == 200


async def test_A8_a_body_of_exactly_a_mebibyte_is_read(world: World, http: httpx2.AsyncClient) -> None:
    empty = orjson.dumps({"type": "event_callback", "event": {"type": "x"}, "pad": ""})
    body = empty[:-2] + b"x" * (1024 * 1024 - len(empty)) + empty[-2:]
    assert len(body) == 1024 * 1024
    request = SlackRequest(path="/slack/events", content_type=JSON, body=body)
    assert (await send(http, world, request)).status_code == 200


@pytest.mark.slow
async def test_A8_two_hundred_dripping_connections_leave_the_others_alone(tmp_path: Path) -> None:
    async with slack_world(tmp_path, body_seconds=1.0) as world:
        host, port = world.url.removeprefix("http://").split(":")
        head = b"POST /slack/events HTTP/1.1\r\nhost: x\r\ncontent-type: a/b\r\ncontent-length: 500\r\n\r\n{"
        slow = await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(200)))
        for _, writer in slow:
            writer.write(head)
        for _ in range(20):
            sent = await world.simulator.command("/standup hi")
            assert sent.status == 200
        first_lines = await asyncio.gather(*(reader.readline() for reader, _ in slow))
        assert set(first_lines) == {b"HTTP/1.1 408 Request Timeout\r\n"}
        for _, writer in slow:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message", "subtype": "message_changed", "channel": "C1", "ts": "1.1"},
        {"type": "message", "bot_id": "B1", "channel": "C1", "ts": "1.2", "text": "loop"},
        {"type": "message", "user": BOT_USER, "channel": "C1", "ts": "1.3", "text": "mine"},
        {"type": "reaction_added", "user": "U1"},
        {"type": "something_new"},
    ],
)
async def test_A9_what_makes_no_event_is_acknowledged(
    world: World, http: httpx2.AsyncClient, event: dict[str, Any]
) -> None:
    assert (await send(http, world, event_callback(event, event_id="Ev1"))).status_code == 200
    assert await stored(world.database) == 0


async def away(draft: EventDraft) -> Accepted:
    raise UnavailableError("the database cannot be reached")


async def hanging(draft: EventDraft) -> Accepted:
    await asyncio.Event().wait()
    raise AssertionError


async def broken(draft: EventDraft) -> Accepted:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("accept", [away, broken, pytest.param(hanging, marks=pytest.mark.slow)])
async def test_with_the_database_away_events_are_to_be_sent_again_and_people_are_told(
    tmp_path: Path, accept: Any
) -> None:
    async with slack_world(tmp_path, accept=accept) as world:
        event = await world.simulator.post(said("hello"))
        assert event.status_code == 503
        assert "RuntimeError" not in event.text
        command = await world.simulator.command("/standup hi")
        assert command.status == 200
        assert json.loads(command.body)["response_type"] == "ephemeral"
        assert "try again" in json.loads(command.body)["text"]


async def test_with_the_database_away_a_click_is_answered_at_its_response_url(tmp_path: Path) -> None:
    async with slack_world(tmp_path, accept=away) as world:
        button = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}, "value": "1"}
        asked = world.slack.workspace.call(
            "chat.postMessage", {"channel": "C1", "blocks": [{"type": "actions", "elements": [button]}]}
        )
        message = world.slack.workspace.find("C1", asked["ts"])
        assert (await world.simulator.click(message, "Go")).status == 200
        told = world.slack.messages[-1]
        assert (told.visible_to, told.via) == ("U0ANNA", "response_url")
        assert "try again" in told.text


async def test_thirty_two_people_at_once_are_all_recorded(world: World, http: httpx2.AsyncClient) -> None:
    requests = [typed(f"/standup {number}", f"t{number}") for number in range(32 * 4)]
    for start in range(0, len(requests), 32):
        replies = await asyncio.gather(*(send(http, world, request) for request in requests[start : start + 32]))
        assert {reply.status_code for reply in replies} == {200}
    assert await stored(world.database) == len(requests)


async def test_the_keys_of_a_message_are_both_remembered(world: World, http: httpx2.AsyncClient) -> None:
    await send(http, world, said("hello"))

    def read(connection: Connection) -> set[str]:
        return set(connection.execute(select(dedupe_keys.c.key)).scalars())

    keys = await wait_until(lambda: world.database.read(read), "keys")
    assert keys == {"slack:event:Ev1", "slack:T0LOCAL:C0GENERAL:1763.000100"}
