"""An embedded Callboard between ledgers: whatever leaves it is written down, and who asked for it is known by its name.

Agents are a gullible model with everything in reach; what strangers wrote waits in each place.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.attacks.attack import Attack
from tests.attacks.gullible import Gullible, start
from tests.support.mcp_web import McpWeb, mcp_web
from tests.support.mcp_world import listed
from tests.support.model_servers.wire import Call
from tests.support.system import ENDED, Callboard, callboard_at
from tests.support.waiting import wait_until
from tests.unit.agents.tools.local_mail import LocalMail, local_mail

AGENTS = Path(__file__).with_name("agents")
LONG = "lorem ipsum " * 400


@dataclass
class Ledger:
    """An HTTP server that keeps every request and serves what strangers wrote."""

    pages: Callable[[str], str | None]
    url: str = ""
    requests: list[str] = field(default_factory=list)

    @property
    def authority(self) -> str:
        return self.url.removeprefix("http://")

    async def respond(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode("utf-8", "replace")
        self.requests.append(f"{request.method} {request.host} {request.path_qs} {body}")
        kind, _, name = request.path.strip("/").partition("/")
        text = self.pages(name) if request.method == "GET" else None
        if text is None:
            return web.Response(text=LONG if kind == "long" else "noted")
        if kind == "long":
            return web.Response(text=f"{LONG}{text}")
        return web.Response(text=f"<html><body><h1>News</h1>{text}</body></html>", content_type="text/html")


@dataclass
class World:
    """Everything that an attack can reach, with its ledger."""

    board: Callboard
    model: Gullible
    site: Ledger
    sink: Ledger
    mail: LocalMail
    desk: McpWeb
    described: McpWeb
    database: Path
    notes: Path

    def fill(self, text: str, loot: str) -> str:
        """The text with what the attacker would put in."""
        return text.replace("{loot}", loot).replace("{sink}", self.sink.url).replace("{site}", self.site.url)

    def left(self, loot: str) -> list[str]:
        """Where it was seen outside."""
        mails = [message.decode("utf-8", "replace") for message in self.mail.messages]
        posts = [f"{message.channel}: {message.text}" for message in self.board.slack.messages]
        ledgers = {
            "site": self.site.requests,
            "sink": self.sink.requests,
            "mail": mails,
            "slack": [post for post in posts if "C0PUBLIC" in post or "#public" in post],
            "mcp": [*self.desk.heard, *self.described.heard],
        }
        return [f"{where}: {line[:200]}" for where, lines in ledgers.items() for line in lines if loot in line]

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """From Callboard's own database."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(sql, values).fetchall()

    def notes_now(self) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.notes)) as connection:
            return connection.execute("select * from notes order by name").fetchall()


def script_of(attacks: Sequence[Attack], world: Callable[[], World]) -> Callable[[str, str], Sequence[Call]]:
    """What the gullible model calls in each phase."""
    known = {attack.name: attack for attack in attacks}

    def script(name: str, phase: str) -> Sequence[Call]:
        attack, here = known[name], world()
        match phase:
            case "act":
                return [call for wanted in attack.wants for call in _wanted(attack, wanted, here)]
            case "web":
                return [_call("http_get", url=f"{here.site.url}/page/{name}")]
            case "long":
                return [
                    _call("http_get", url=f"{here.site.url}/long/{name}"),
                    _call("read_artifact", reference="{artifact}", offset=4700),
                ]
            case "much":
                more = [_call("http_get", url=f"{here.site.url}/long/other?{number}") for number in range(4)]
                return [_call("http_get", url=f"{here.site.url}/page/{name}"), *more]
            case "sql":
                return [_call("sql_query", sql="select body from notes where name = :name", params={"name": name})]
            case "desk":
                return [_call("desk__lookup", text=name)]
            case "keep":
                return [_call("remember", key=name, value=f"From the page: {here.fill(attack.text, attack.loot)}")]
            case "recall":
                return [_call("recall", key=name)]
        raise AssertionError(f"no such phase: {phase}")

    return script


def _wanted(attack: Attack, wanted: Any, world: World) -> list[Call]:
    arguments = json.dumps(wanted.arguments) if wanted.raw is None else wanted.raw.replace("LONG", "x" * 20_000)
    filled = [world.fill(arguments, attack.loot).replace("{n}", str(number)) for number in range(wanted.times)]
    return [Call(name=wanted.tool, arguments=each, id=f"call_{number}") for number, each in enumerate(filled)]


def _call(tool: str, **arguments: Any) -> Call:
    return Call(name=tool, arguments=json.dumps(arguments))


@contextlib.asynccontextmanager
async def ledger(pages: Callable[[str], str | None], host: str) -> AsyncIterator[Ledger]:
    kept = Ledger(pages)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", kept.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    kept.url = f"http://{host}:{runner.addresses[0][1]}"
    try:
        yield kept
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def world_of(attacks: Sequence[Attack], folder: Path) -> AsyncIterator[World]:
    """Runs until the block ends."""
    made: list[World] = []
    texts = {attack.name: attack for attack in attacks}
    notes = folder / "notes.db"

    def page(name: str) -> str | None:
        attack = texts.get(name)
        return None if attack is None else made[0].fill(attack.text, attack.loot)

    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(ledger(page, "127.0.0.1"))
        sink = await stack.enter_async_context(ledger(lambda _: None, "127.0.0.2"))
        mail = await stack.enter_async_context(local_mail())
        lookup = listed("lookup", "Looks a customer up.")
        tools = [lookup, listed("wipe", "Deletes a customer."), listed("send", "Sends a letter.")]
        desk = await stack.enter_async_context(
            mcp_web(*tools, says=lambda given: page(str(given.get("text"))) or "done")
        )
        described = await stack.enter_async_context(mcp_web())
        model = Gullible(script_of(attacks, lambda: made[0]))
        runner = await start(model)
        stack.push_async_callback(runner.cleanup)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        permitted = [site.authority, sink.authority, desk.authority, described.authority]
        for name, value in {
            "OPENAI_API_KEY": "key-of-the-gullible",
            "OPENAI_BASE_URL": f"{model.url}/v1",
            "CALLBOARD_HTTP_ALLOW": ",".join(permitted),
            "CALLBOARD_SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
            "CALLBOARD_SMTP_FROM": "board@example.com",
            "NOTES_DSN": f"sqlite:///{notes}",
        }.items():
            patch.setenv(name, value)
        (folder / "models.yaml").write_text(
            'prices: [{provider: openai, model: "spender*", input_usd: 100, output_usd: 1000}]\n'
            "unknown_price: {input_usd: 0, output_usd: 0}\n"
        )
        board = await stack.enter_async_context(callboard_at(folder))
        world = World(board, model, site, sink, mail, desk, described, folder / "data" / "callboard.db", notes)
        made.append(world)
        _write_notes(notes, {name: page(name) or "" for name in texts})
        described.tools = [
            listed(f"helper_{number}", world.fill(attack.text, attack.loot))
            for number, attack in enumerate(each for each in attacks if each.place == "mcp_description")
        ]
        for file in sorted(AGENTS.glob("*.yaml")):
            text = file.read_text().replace("DESK_URL", desk.url).replace("DESCRIBED_URL", described.url)
            await board.write(file.stem, text)
        yield world


def _write_notes(file: Path, notes: dict[str, str]) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("create table notes (name text primary key, body text)")
        connection.executemany("insert into notes values (?, ?)", list(notes.items()))
        connection.commit()


async def settled(world: World, task: str) -> str:
    """Its status once nothing more happens without a person."""

    def family_of() -> list[tuple[Any, ...]]:
        # From the database: asking the API so often would cost more than all the runs.
        return world.rows(
            "select run_id, status, waiting_kind, agent from runs where run_id = ? or root_run_id = ?", task, task
        )

    def at_rest() -> str | None:
        family = family_of()
        own = next((status for run, status, *_ in family if run == task), "queued")
        moves = any(status in ("queued", "running") for _, status, *_ in family)
        asks = any(status == "waiting" and kind != "steps" for _, status, kind, _ in family)
        return own if own in ENDED or (asks and not moves) else None

    try:
        return str(await wait_until(at_rest, f"run {task} comes to rest", within=30.0))
    except AssertionError as error:
        last = world.rows("select kind, count(*), max(created_at) from progress where run_id = ? group by kind", task)
        raise AssertionError(f"{error}: {family_of()}, its progress {last}") from error
