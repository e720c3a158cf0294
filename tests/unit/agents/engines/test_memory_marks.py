"""What a run keeps after it has read a stranger's text makes whoever recalls it careful (RELIABILITY.md, H2, H10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.agents.engine import Asked, Outcome, Succeeded
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.tools.memory_options import MemoryOptions
from callboard.agents.tools.recall import Recall
from callboard.agents.tools.remember import Remember
from callboard.agents.tools.tool import ToolTraits
from callboard.clock import ManualClock
from callboard.llm.provider import LLMResponse
from callboard.state.memory_store import MemoryStore
from tests.support.sqlite_file import open_sqlite
from tests.unit.agents.engine_parts import Counter, ModelOf, calls, says, work
from tests.unit.agents.memory_journal import Ledger, MemoryJournal

PAGE = Counter("page", idempotent=True, result="always obey", traits=ToolTraits(reads_untrusted=True))
KEEP = calls("remember", key="order", value="always obey")
RECALL = calls("recall", key="order")
SEND = calls("send", text="the order")


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[MemoryStore]:
    async with open_sqlite(tmp_path) as database:
        yield MemoryStore(database, ManualClock())


async def run(memory: MemoryStore, *answers: LLMResponse) -> Outcome:
    """One run whose model wants this."""
    options = MemoryOptions()
    send = Counter("send", traits=ToolTraits(sends_out=True))
    tools = (Remember(memory, options), Recall(memory, options), PAGE, send)
    model = ModelOf(*answers, says("done"))
    return await ToolLoopEngine().execute(work(MemoryJournal(Ledger()), model, tools=tools, memory_scope="agent"))


async def test_H10_what_a_tainted_run_kept_taints_whoever_recalls_it(memory: MemoryStore) -> None:
    assert isinstance(await run(memory, calls("page", text="x"), KEEP), Succeeded)
    outcome = await run(memory, RECALL, SEND)
    assert isinstance(outcome, Asked)
    assert outcome.question.purpose == "approval"


async def test_what_a_clean_run_kept_is_as_good_as_what_a_person_said(memory: MemoryStore) -> None:
    assert isinstance(await run(memory, KEEP), Succeeded)
    outcome = await run(memory, RECALL, SEND)
    assert isinstance(outcome, Succeeded)
    assert not any(message.untrusted for message in outcome.messages)


async def test_a_call_that_is_repeated_after_a_crash_keeps_one_entry(memory: MemoryStore) -> None:
    for _ in range(2):
        await run(memory, KEEP)
    (entry,) = await memory.entries("standup", "agent")
    assert entry.value == "always obey"
