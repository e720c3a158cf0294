"""Whose limits a run's model calls stay within."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from callboard.agents.spending_limits import limits_of, needs_origin
from callboard.config.definition import Limits
from callboard.config.models_file import BudgetSettings
from callboard.messaging.events import Actor
from callboard.state.budgets import Origin
from callboard.state.runs import Lane, Run, RunStatus, Usage

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RUN = Run(
    seq=1, run_id="r", tenant="default", event_id="e", trace_id="t", agent="writer", agent_version=1, catalog=1,
    mode="autonomous", lane=Lane.INTERACTIVE, status=RunStatus.RUNNING, attempt=1, failures=0, max_attempts=3,
    context_no=0, lease_losses=0, fencing=1, conversation_id=None, order_key=None, parent_run_id=None,
    root_run_id=None, step_id=None, depth=0, hops=0, timeout_seconds=60, actor=Actor(kind="user", id="U1"),
    reply_to=None, waiting_for=None, cancel_requested=False, created_at=NOW, available_at=NOW, started_at=None,
    finished_at=None, cost_usd=0.0, usage=Usage(),
)  # fmt: skip
STEP = replace(RUN, run_id="s", parent_run_id="r", root_run_id="r", step_id="one")
EVERYTHING = BudgetSettings(daily_usd=20, channels={"#eng": 5, "C9": 2}, users={"U1": 1.5})


def found(
    run: Run, own: Limits, origin: Origin, *, root: Limits | None = None, budgets: BudgetSettings = EVERYTHING
) -> dict[tuple[str, str, str], float]:
    limits = limits_of(run, own, origin, root, budgets, NOW)
    return {(limit.account.scope.value, limit.account.name, limit.account.day): limit.limit_usd for limit in limits}


def test_without_limits_there_are_none() -> None:
    assert found(RUN, Limits(), Origin(agent=RUN.agent), budgets=BudgetSettings()) == {}
    assert not needs_origin(RUN, BudgetSettings(daily_usd=1))
    assert needs_origin(RUN, EVERYTHING)


def test_everybody_who_pays_has_a_say() -> None:
    origin = Origin(agent=RUN.agent, channel="C1", channel_name="eng", user="U1")
    assert found(RUN, Limits(max_cost_usd=0.25, daily_cost_usd=2.0), origin) == {
        ("run", RUN.run_id, ""): 0.25,
        ("agent", RUN.agent, "2026-11-21"): 2.0,
        ("channel", "C1", "2026-11-21"): 5,
        ("user", "U1", "2026-11-21"): 1.5,
        ("global", "", "2026-11-21"): 20,
    }


@pytest.mark.parametrize(
    ("channel", "name", "limit"), [("C9", "eng", 2), ("C1", "eng", 5), ("C1", "other", None), (None, None, None)]
)
def test_a_channel_is_known_by_its_id_before_its_name(channel: str | None, name: str | None, limit: int | None) -> None:
    limits = found(RUN, Limits(), Origin(agent=RUN.agent, channel=channel, channel_name=name))
    assert limits.get(("channel", channel or "", "2026-11-21")) == limit


def test_a_step_pays_for_itself_and_for_the_plan() -> None:
    assert needs_origin(STEP, BudgetSettings())
    limits = found(
        STEP, Limits(max_cost_usd=0.1), Origin(agent="planner"), root=Limits(max_cost_usd=1.0, daily_cost_usd=9)
    )
    assert {key: usd for key, usd in limits.items() if key[0] != "global"} == {
        ("run", "s", ""): 0.1,
        ("run", "r", ""): 1.0,
    }
