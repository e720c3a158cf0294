"""Catalogs in the database: numbered, immutable, changed whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from callboard.config.configuration_service import ACTOR
from callboard.errors import ConflictError, NotFoundError, VersionConflictError
from callboard.state.catalogs import CatalogChanges, PutVersion, RejectionRecord
from callboard.state.models import events, outbox
from tests.unit.config.house import MIA, House, agent, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


def put(name: str, digest: str, path: str | None = None) -> PutVersion:
    return PutVersion(
        name=name, path=path or f"agents/{name}.yaml", digest=digest, source=digest, definition={"name": name}
    )


def refusal(digest: str, line: int = 1) -> RejectionRecord:
    problem = {"file": "agents/x.yaml", "line": line, "column": 1, "message": "no", "hint": ""}
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return RejectionRecord(
        path="agents/x.yaml", name=None, version=None, digest=digest, problems=(problem,), created_at=when
    )


async def test_there_is_an_empty_catalog_before_the_first(home: House) -> None:
    head = await home.store.head()
    assert (head.number, list(head.entries)) == (0, [])
    with pytest.raises(NotFoundError, match="no catalog 1"):
        await home.store.head(1)


async def test_every_catalog_of_the_past_stays_as_it_was(home: House) -> None:
    await home.store.apply(CatalogChanges(expected=0, puts=[put("a", "1"), put("b", "1")]), ACTOR)
    await home.store.apply(CatalogChanges(expected=1, puts=[put("a", "2")], removes=["b"]), ACTOR)
    await home.store.apply(CatalogChanges(expected=2, puts=[put("b", "1")]), ACTOR)
    seen = [[(item.name, item.version) for item in (await home.store.head(number)).entries] for number in range(4)]
    assert seen == [[], [("a", 1), ("b", 1)], [("a", 2)], [("a", 2), ("b", 1)]]


async def test_content_that_comes_back_after_another_is_a_new_version(home: House) -> None:
    for number, digest in enumerate("121"):
        await home.store.apply(CatalogChanges(expected=number, puts=[put("a", digest)]), ACTOR)
    assert [record.version for record in await home.store.history("a")] == [3, 2, 1]


async def test_a_decision_from_an_older_catalog_is_refused_whole(home: House) -> None:
    await home.store.apply(CatalogChanges(expected=0, puts=[put("a", "1")]), ACTOR)
    with pytest.raises(VersionConflictError, match="at 1, not at 0"):
        await home.store.apply(CatalogChanges(expected=0, puts=[put("b", "1")], rejections=[refusal("x")]), ACTOR)
    assert [item.name for item in (await home.store.head()).entries] == ["a"]
    assert await home.store.rejections() == []


async def test_each_change_is_one_public_event_in_the_outbox_and_never_routed(home: House) -> None:
    await home.store.apply(CatalogChanges(expected=0, puts=[put("a", "1"), put("b", "1")]), ACTOR)
    await home.store.apply(
        CatalogChanges(expected=1, puts=[put("a", "2")], removes=["b"], rejections=[refusal("x")]), ACTOR
    )
    assert home.heard.topics() == [
        ("added", "a"), ("added", "b"), ("changed", "a"), ("removed", "b"), ("rejected", None),
    ]  # fmt: skip
    assert [event.payload.get("version") for event in home.heard.events] == [1, 1, 2, 1, None]
    stored = await home.database.read(
        lambda connection: (
            connection.execute(select(func.count()).select_from(outbox)).scalar(),
            connection.execute(select(func.count()).where(events.c.routed_at.is_(None))).scalar(),
        )
    )
    assert stored == (5, 0)


async def test_a_refusal_is_told_once_for_each_content_and_ends_with_it(home: House) -> None:
    for rejections in ([refusal("x")], [refusal("x")], [refusal("y")], []):
        await home.store.apply(CatalogChanges(expected=0, rejections=rejections), ACTOR)
    assert home.heard.topics() == [("rejected", None), ("rejected", None)]
    assert (await home.store.head()).number == 0
    assert await home.store.rejections() == []


async def test_a_moved_file_keeps_its_version_and_its_pin(home: House) -> None:
    await home.store.apply(CatalogChanges(expected=0, puts=[put("a", "1")]), ACTOR)
    await home.store.apply(CatalogChanges(expected=1, puts=[put("a", "2")]), ACTOR)
    await home.store.pin("a", 1, MIA)
    head = await home.store.apply(CatalogChanges(expected=3, puts=[put("a", "2", "agents/z.yaml")]), ACTOR)
    (entry,) = head.entries
    assert (entry.path, entry.version, entry.pinned, entry.latest) == ("agents/z.yaml", 1, True, 2)
    assert len(await home.store.history("a")) == 2


async def test_a_rollback_to_what_never_was_names_what_there_is(home: House) -> None:
    await home.store.apply(CatalogChanges(expected=0, puts=[put("a", "1")]), ACTOR)
    with pytest.raises(NotFoundError, match="no version 7 of 'a': there are 1 to 1"):
        await home.store.pin("a", 7, MIA)
    with pytest.raises(NotFoundError, match="no agent 'b' is in force"):
        await home.store.unpin("b", MIA)
    assert (await home.store.unpin("a", MIA)).number == 1


async def test_a_rollback_that_takes_anothers_command_is_refused(home: House) -> None:
    home.write(agent("one", extra="slack: {commands: [/x]}\n"), "one.yaml")
    await home.service.start()
    home.write(agent("one"), "one.yaml")
    home.fresh_service()
    await home.service.start()
    home.write(agent("two", extra="slack: {commands: [/x]}\n"), "two.yaml")
    home.fresh_service()
    await home.service.start()
    with pytest.raises(ConflictError, match="belongs to 'two'"):
        await home.reader.rollback("one", 1, MIA)


async def test_an_unknown_agent_is_answered_with_the_nearest_or_all(home: House) -> None:
    home.write(agent("standup"))
    catalog = await home.service.start()
    with pytest.raises(NotFoundError, match="did you mean 'standup'"):
        catalog.agent("standpu")
    with pytest.raises(NotFoundError, match="known: standup"):
        catalog.agent("zzz")


async def test_listeners_hear_each_catalog_once(home: House) -> None:
    heard: list[int] = []
    home.service.subscribe(lambda catalog: heard.append(catalog.number))
    home.write(agent("standup"))
    await home.service.start()
    await home.reader.refresh()
    assert heard == [1]
