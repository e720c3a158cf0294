"""What tools make is kept once, within limits, for its own tenant, and as long as its run."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from callboard.agents.run_artifacts import RunArtifacts
from callboard.agents.tools.tool import ToolError
from callboard.errors import NotFoundError, TooLargeError
from callboard.state import artifacts as limits
from callboard.state.artifact_store import ArtifactStore
from callboard.state.models import artifacts, outbox
from callboard.state.retention import Retention
from callboard.state.runs import RunStatus, WaitingKind
from tests.support.state_house import StateHouse


def store_of(house: StateHouse) -> ArtifactStore:
    return ArtifactStore(house.database, house.clock)


async def test_an_artifact_comes_back_as_it_was_kept(house: StateHouse) -> None:
    store, run = store_of(house), await house.start()
    body = bytes(range(256)) * 4096
    kept = await store.keep(run.run_id, "all.bin", "application/x-all", body)
    assert kept.reference == f"artifact:{kept.id}"
    artifact, found = await store.load(kept.id)
    assert found == body
    assert artifact == kept
    assert (artifact.size_bytes, artifact.digest) == (len(body), hashlib.sha256(body).hexdigest())
    assert await store.of_run(run.run_id) == [kept]


async def test_the_same_body_of_a_run_is_kept_once_and_of_another_run_again(house: StateHouse) -> None:
    store, run, other = store_of(house), await house.start(), await house.start("other")
    names = [f"copy {number}.txt" for number in range(8)]
    kept = await asyncio.gather(*(store.keep(run.run_id, name, "text/plain", b"same") for name in names))
    assert len({artifact.id for artifact in kept}) == 1
    assert len(await store.of_run(run.run_id)) == 1
    again = await store.keep(other.run_id, "copy.txt", "text/plain", b"same")
    assert again.id != kept[0].id
    assert len(await house.rows(artifacts)) == 2


async def test_those_that_an_answer_names_are_found_among_the_familys_only(house: StateHouse) -> None:
    store, run, other = store_of(house), await house.start(), await house.start("other")
    mine = [(await store.keep(run.run_id, f"{n}.txt", "text/plain", n.encode())).id for n in "abc"]
    strange = (await store.keep(other.run_id, "x.txt", "text/plain", b"x")).id
    named = await store.named(run.run_id, [mine[0], mine[2], strange, "f" * 32])
    assert {artifact.id for artifact in named} == {mine[0], mine[2]}
    assert await store.named(run.run_id, []) == []
    assert await store.named(run.run_id, mine, tenant="other") == []


async def test_what_is_too_large_is_refused_and_its_tool_says_so(house: StateHouse) -> None:
    store, run = store_of(house), await house.start()
    await store.keep(run.run_id, "fits", "text/plain", bytes(limits.MAX_ARTIFACT_BYTES))
    with pytest.raises(TooLargeError, match="more has 8388609 bytes; the limit is 8388608"):
        await store.keep(run.run_id, "more", "text/plain", bytes(limits.MAX_ARTIFACT_BYTES + 1))
    with pytest.raises(ToolError, match="the limit is 8388608"):
        await RunArtifacts(store, run).keep("more", "text/plain", bytes(limits.MAX_ARTIFACT_BYTES + 1))
    assert len(await store.of_run(run.run_id)) == 1


@pytest.mark.slow
async def test_G4_a_run_cannot_fill_the_database(house: StateHouse) -> None:
    store, run = store_of(house), await house.start()
    tool_side = RunArtifacts(store, run)
    for number in range(8):
        reference = await tool_side.keep("part", "text/plain", bytes([number]) * limits.MAX_ARTIFACT_BYTES)
        assert reference.startswith("artifact:")
    with pytest.raises(ToolError, match="keeps 8 artifacts of 67108864 bytes already"):
        await tool_side.keep("one more", "text/plain", b"x")
    await tool_side.keep("an old one", "text/plain", bytes(1) * limits.MAX_ARTIFACT_BYTES)


async def test_H7_another_tenant_finds_nothing(house: StateHouse) -> None:
    store, run = store_of(house), await house.start()
    kept = await store.keep(run.run_id, "secret", "text/plain", b"mine", tenant="one")
    with pytest.raises(NotFoundError):
        await store.load(kept.id, tenant="two")
    assert await store.of_run(run.run_id, tenant="two") == []


async def test_a_run_shows_what_its_steps_have_made(house: StateHouse) -> None:
    store, parent = store_of(house), await house.start("boss", mode="collaborative")
    child = house.child(parent, "a", mode="autonomous")
    await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=(child,))
    [step] = await house.claim()
    reference = await RunArtifacts(store, step.run).keep("chart.png", "image/png", b"png")
    ids = [reference.removeprefix("artifact:")]
    assert [kept.id for kept in await store.named(parent.run_id, ids)] == ids
    assert [kept.run_id for kept in await store.of_run(parent.run_id)] == [step.run.run_id]
    assert [kept.run_id for kept in await store.of_run(step.run.run_id)] == [step.run.run_id]


async def test_artifacts_go_with_their_run(house: StateHouse) -> None:
    store, old = store_of(house), await house.start("old")
    await store.keep(old.run_id, "x", "text/plain", b"old")
    await house.settle(old, output="done")
    await house.later(days=32)
    young = await house.start("young")
    kept = await store.keep(young.run_id, "x", "text/plain", b"young")
    await house.database.write(lambda connection: connection.execute(outbox.delete()))
    await Retention(house.database, house.clock, pause_seconds=0.0).sweep()
    assert [row["id"] for row in await house.rows(artifacts)] == [kept.id]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie_ x"),
        ("...", "artifact"),
        ("", "artifact"),
        ("Umsätze 2026.csv", "Umsätze 2026.csv"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("n" * 500, "n" * limits.MAX_NAME_CHARS),
    ],
)
def test_a_name_is_one_harmless_file(given: str, name: str) -> None:
    assert limits.file_name(given) == name


@pytest.mark.parametrize(
    ("given", "media_type"),
    [
        ("image/PNG", "image/png"),
        ("text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("text/html\r\nX: y", limits.UNKNOWN_TYPE),
        ("anything", limits.UNKNOWN_TYPE),
        ("", limits.UNKNOWN_TYPE),
    ],
)
def test_a_media_type_is_one_or_unknown(given: str, media_type: str) -> None:
    assert limits.media_type_of(given) == media_type
