"""What strangers may have written marks the run that read it, and every run for the same request."""

from __future__ import annotations

from callboard.state.effects import EffectDraft, EffectStatus
from callboard.state.finishing import ProgressDraft
from callboard.state.journal_store import Checkpoint
from tests.support.state_house import StateHouse, claim_of


async def test_H2_the_taint_is_known_under_the_trace_id_and_nowhere_else(house: StateHouse) -> None:
    await house.queue()
    await house.queue()
    one, two = (claimed.run for claimed in await house.claim())
    assert not await house.journals.is_tainted(one.tenant, one.trace_id)
    draft = EffectDraft(key="/0/0", tool="page", digest="d", idempotent=True)
    read = Checkpoint(messages=({"role": "tool"},), tainted=True)
    await house.journals.end_effect(claim_of(one), draft, EffectStatus.DONE, "r", read)
    await house.journals.append(claim_of(one), Checkpoint(messages=({"role": "assistant"},)))
    assert await house.journals.is_tainted(one.tenant, one.trace_id)
    assert not await house.journals.is_tainted(two.tenant, two.trace_id)
    assert not await house.journals.is_tainted("other", one.trace_id)


async def test_lines_are_stored_with_their_checkpoint_in_order(house: StateHouse) -> None:
    run_id = await house.queue()
    (claimed,) = await house.claim()
    draft = EffectDraft(key="/0/0", tool="send", digest="d", idempotent=False)
    claim = claim_of(claimed.run)
    await house.journals.append(claim, Checkpoint(messages=("m",), progress=(_line("one"), _line("two"))))
    await house.journals.begin_effect(claim, draft, repeat=False, progress=(_line("three"),))
    await house.journals.begin_effect(claim, draft, repeat=False, progress=(_line("not again"),))
    await house.journals.end_effect(
        claim, draft, EffectStatus.DONE, "r", Checkpoint(messages=("m",), progress=(_line("four"),))
    )
    lines = await house.queries.progress(run_id, 0)
    told = [line.data["said"] for line in lines if line.kind == "said"]
    assert told == ["one", "two", "three", "four"]


def _line(text: str) -> ProgressDraft:
    return ProgressDraft(kind="said", data={"said": text})
