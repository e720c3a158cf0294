"""Pinned tools: what was seen first holds until a person approves another form."""

from __future__ import annotations

import pytest

from callboard.errors import ConflictError, NotFoundError
from callboard.messaging.events import Actor
from callboard.state.mcp_tool_store import REMEMBERED_SECONDS, McpToolStore
from callboard.state.mcp_tools import OfferedTool
from tests.support.state_house import StateHouse

ANNA = Actor(kind="api", id="anna", via="http")
BEFORE, AFTER, LATER = "1" * 64, "2" * 64, "3" * 64


def offered(digest: str, name: str = "read") -> OfferedTool:
    return OfferedTool(name=name, digest=digest, shown={"description": f"form {digest[0]}", "odd": "\u0000\ud800"})


@pytest.fixture
def store(house: StateHouse) -> McpToolStore:
    return McpToolStore(house.database, house.clock)


async def changed(store: McpToolStore, *tools: OfferedTool, agent: str = "worker") -> set[str]:
    return set(await store.check("default", agent, "files", tools))


async def test_G6_a_tool_is_pinned_when_it_is_first_seen(house: StateHouse, store: McpToolStore) -> None:
    assert await changed(store, offered(BEFORE)) == set()
    (pin,) = await store.pinned("worker")
    assert (pin.server, pin.tool, pin.digest, pin.changed) == ("files", "read", BEFORE, False)
    assert pin.shown["odd"] == "\u0000\ud800"
    assert pin.holds_since == house.clock.now()


async def test_G6_a_tool_that_has_changed_is_withheld_until_it_is_approved(
    house: StateHouse, store: McpToolStore
) -> None:
    await changed(store, offered(BEFORE), offered(BEFORE, "write"))
    seen_at = house.clock.now()
    await house.clock.advance(5)
    tools = (offered(AFTER), offered(BEFORE, "write"))
    assert dict(await store.check("default", "worker", "files", tools)) == {"read": seen_at}
    assert dict(await store.check("default", "worker", "files", tools)) == {"read": seen_at}
    pin = (await store.pinned("worker"))[0]
    assert pin.changed
    assert pin.offered is not None
    assert pin.offered["description"] == "form 2"
    approved = await store.approve("worker", "files", "read", ANNA, digest=AFTER)
    assert (approved.digest, approved.approved_by, approved.approved_at) == (AFTER, "anna", house.clock.now())
    assert await changed(store, *tools) == set()
    assert await changed(store, offered(BEFORE)) == {"read"}


async def test_a_tool_that_goes_back_to_what_it_was_is_used_again(house: StateHouse, store: McpToolStore) -> None:
    await changed(store, offered(BEFORE))
    assert await changed(store, offered(AFTER)) == {"read"}
    assert await changed(store, offered(BEFORE)) == set()
    await house.clock.advance(REMEMBERED_SECONDS)
    assert await changed(store, offered(BEFORE)) == set()
    assert not (await store.pinned("worker"))[0].changed


async def test_an_approval_is_of_the_form_that_was_looked_at(store: McpToolStore) -> None:
    with pytest.raises(NotFoundError, match="never seen tool 'read' of MCP server 'files'"):
        await store.approve("worker", "files", "read", ANNA)
    await changed(store, offered(BEFORE))
    with pytest.raises(ConflictError, match="has not changed"):
        await store.approve("worker", "files", "read", ANNA)
    await changed(store, offered(AFTER))
    await changed(store, offered(LATER))
    with pytest.raises(ConflictError, match="has changed once more since you looked"):
        await store.approve("worker", "files", "read", ANNA, digest=AFTER)
    assert (await store.approve("worker", "files", "read", ANNA, digest=LATER)).digest == LATER


async def test_each_agent_has_its_own_pins(store: McpToolStore) -> None:
    await changed(store, offered(BEFORE), agent="a")
    await changed(store, offered(AFTER), agent="b")
    assert await changed(store, offered(AFTER), agent="a") == {"read"}
    assert await changed(store, offered(AFTER), agent="b") == set()
    assert await store.pinned(tenant="other") == []


async def test_what_fits_is_remembered_for_a_minute(house: StateHouse, store: McpToolStore) -> None:
    """Another process may approve, but nothing makes a pinned form unpinned in the meantime."""
    await changed(store, offered(BEFORE))
    other = McpToolStore(house.database, house.clock)
    await changed(other, offered(AFTER))
    await other.approve("worker", "files", "read", ANNA)
    assert await changed(store, offered(AFTER)) == set()
    assert await changed(store, offered(BEFORE)) == {"read"}
