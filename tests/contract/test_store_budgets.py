"""Money is reserved before it is spent, settled at what was spent, and never forgotten (R20, RELIABILITY.md G4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from callboard.errors import FencedError
from callboard.state.budget_store import BudgetStore
from callboard.state.budgets import (
    RAISE,
    STOP,
    Account,
    Busy,
    CostLine,
    Limit,
    Origin,
    OverBudget,
    Reservation,
    Reserved,
    Scope,
    day_of,
)
from callboard.state.clarifications import ClarificationKind, ClarificationStatus
from callboard.state.database import Database
from callboard.state.finishing import ProgressDraft
from callboard.state.journal_store import Checkpoint
from callboard.state.models import outbox, reservations, runs, spending
from callboard.state.retention import Retention
from callboard.state.runs import Run, RunStatus, Usage, WaitingKind
from tests.support.databases import open_three_postgres
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import StateHouse, claim_of, question


def of_agent(house: StateHouse, usd: float = 1.0, agent: str = "echo") -> Limit:
    account = Account(scope=Scope.AGENT, name=agent, day=day_of(house.clock.now()))
    return Limit(account=account, limit_usd=usd)


def of_run(run: Run, usd: float) -> Limit:
    return Limit(account=Account(scope=Scope.RUN, name=run.run_id), limit_usd=usd)


async def reserve(
    house: StateHouse, run: Run, usd: float, limits: Sequence[Limit] | None = None, *, call: int = 0
) -> Reservation:
    budgets = BudgetStore(house.database, house.clock)
    wanted = [of_agent(house)] if limits is None else limits
    return await budgets.reserve(claim_of(run), call, usd, wanted)


async def accounts(house: StateHouse) -> dict[tuple[str, str], float]:
    return {(row["scope"], row["name"]): round(row["usd"], 6) for row in await house.rows(spending)}


async def checkpoint(house: StateHouse, run: Run, usd: float, **parts: object) -> None:
    used = Checkpoint(messages=("m",), usage=Usage(input_tokens=10, output_tokens=5), cost_usd=usd, **parts)  # type: ignore[arg-type]
    await house.journals.append(claim_of(run), used)


def call_line(model: str, usd: float) -> ProgressDraft:
    data = {"model": model, "input_tokens": 10, "output_tokens": 5, "cost_usd": usd}
    return ProgressDraft(kind="model_call", data=data)


async def test_what_is_reserved_is_settled_at_its_cost_by_the_checkpoint(house: StateHouse) -> None:
    run = await house.start()
    assert await reserve(house, run, 0.4, [of_agent(house), of_run(run, 2.0)]) == Reserved()
    assert len(await house.rows(reservations)) == 2
    await checkpoint(house, run, 0.1, progress=(call_line("large", 0.1),))
    assert await house.rows(reservations) == []
    assert await accounts(house) == {
        ("agent", "echo"): 0.1,
        ("global", ""): 0.1,
        ("model", "large"): 0.1,
        ("run", run.run_id): 0.1,
        ("user", "tess"): 0.1,
    }
    assert {(row["input_tokens"], row["output_tokens"], row["model_calls"]) for row in await house.rows(spending)} == {
        (10, 5, 1)
    }
    assert (await house.run(run.run_id)).cost_usd == pytest.approx(0.1)


async def test_the_end_of_a_run_settles_too(house: StateHouse) -> None:
    run = await house.start(reply=True)
    await reserve(house, run, 0.4)
    await house.settle(run, cost_usd=0.25, usage=Usage(input_tokens=7, output_tokens=3))
    assert await house.rows(reservations) == []
    assert await accounts(house) == {
        ("agent", "echo"): 0.25,
        ("channel", "C1"): 0.25,
        ("global", ""): 0.25,
        ("user", "tess"): 0.25,
    }
    assert (await house.run(run.run_id)).cost_usd == pytest.approx(0.25)


async def test_what_costs_is_counted_without_any_budget(house: StateHouse) -> None:
    first, second, free = [await house.start() for _ in range(3)]
    await house.settle(first, cost_usd=0.5)
    await checkpoint(house, second, 0.25)
    await house.settle(second, cost_usd=0.25)
    await house.settle(free)
    assert (await accounts(house))["agent", "echo"] == 1.0
    by_name = {(row["scope"], row["name"]): row["model_calls"] for row in await house.rows(spending)}
    assert by_name["agent", "echo"] == 3


async def test_what_is_free_costs_no_row(house: StateHouse) -> None:
    run = await house.start()
    await checkpoint(house, run, 0.0)
    await house.settle(run, usage=Usage(input_tokens=3, output_tokens=4))
    assert await house.rows(spending) == []
    assert (await house.rows(runs))[0]["reserved"] is None


async def test_a_step_is_paid_by_whoever_asked_for_the_plan(house: StateHouse) -> None:
    parent = await house.start(mode="collaborative", reply=True)
    child = house.child(parent, "one")
    await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=(child,))
    (step,) = await house.claim()
    limits = [of_run(parent, 1.0), of_run(step.run, 0.5)]
    assert await reserve(house, step.run, 0.4, limits) == Reserved()
    await house.settle(step.run, cost_usd=0.3)
    found = await accounts(house)
    assert found["run", parent.run_id] == found["run", step.run.run_id] == found["channel", "C1"] == 0.3
    assert found["agent", "helper"] == 0.3


async def test_the_same_call_is_reserved_once(house: StateHouse) -> None:
    """A commit whose outcome was unknown is repeated (R7)."""
    run = await house.start()
    for _ in range(3):
        assert await reserve(house, run, 0.9) == Reserved()
    assert len(await house.rows(reservations)) == 1
    assert isinstance(await reserve(house, run, 0.9, call=1), OverBudget)


async def test_G4_two_workers_cannot_overspend_together(house: StateHouse) -> None:
    first, second = await house.start(process="p1"), await house.start(process="p2")
    decisions = await asyncio.gather(reserve(house, first, 0.6), reserve(house, second, 0.6))
    assert {type(decision) for decision in decisions} == {Reserved, Busy}
    winner, loser = (first, second) if isinstance(decisions[0], Reserved) else (second, first)
    await house.settle(winner, cost_usd=0.5)
    over = await reserve(house, loser, 0.6)
    assert isinstance(over, OverBudget)
    assert (over.account.scope, over.limit_usd, over.spent_usd, over.needed_usd) == (Scope.AGENT, 1.0, 0.5, 0.6)
    assert await reserve(house, loser, 0.4) == Reserved()


async def test_G4_fifty_runs_at_once_never_reserve_more_than_there_is(house: StateHouse) -> None:
    started = [await house.start() for _ in range(50)]
    decisions = await asyncio.gather(*(reserve(house, run, 0.03) for run in started))
    granted = [run for run, decision in zip(started, decisions, strict=True) if isinstance(decision, Reserved)]
    assert len(granted) == 33
    assert sum(isinstance(decision, Busy) for decision in decisions) == 17
    await asyncio.gather(*(house.settle(run, cost_usd=0.03) for run in granted))
    assert (await accounts(house))["agent", "echo"] == 0.99
    assert isinstance(await reserve(house, next(r for r in started if r not in granted), 0.03), OverBudget)


async def test_G4_a_lost_process_is_charged_in_full_and_said_to_be_estimated(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await reserve(house, run, 0.4)
    await checkpoint(house, run, 0.1)
    await reserve(house, run, 0.5, call=1)
    await house.processes.declare_dead(["p1"])
    assert await house.rows(reservations) == []
    assert (await accounts(house))["agent", "echo"] == 0.6
    (row,) = await house.rows(runs)
    assert (row["status"], row["cost_estimated"]) == ("queued", True)
    assert row["cost_usd"] == pytest.approx(0.6)
    (again,) = await house.claim("p2")
    assert await reserve(house, again.run, 0.4) == Reserved()


async def test_a_lost_process_that_was_in_no_model_call_costs_nothing_more(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await reserve(house, run, 0.4)
    await checkpoint(house, run, 0.1)
    await house.processes.declare_dead(["p1"])
    (row,) = await house.rows(runs)
    assert (row["cost_estimated"], row["cost_usd"]) == (None, pytest.approx(0.1))


@pytest.mark.parametrize("status", [RunStatus.TIMED_OUT, RunStatus.CANCELLED, RunStatus.QUEUED])
async def test_a_run_that_is_stopped_amid_a_call_is_charged_in_full(house: StateHouse, status: RunStatus) -> None:
    run = await house.start()
    await reserve(house, run, 0.4)
    await house.settle(run, status, cost_known=False)
    assert await house.rows(reservations) == []
    (row,) = await house.rows(runs)
    assert (row["cost_usd"], row["cost_estimated"]) == (pytest.approx(0.4), True)
    assert (await accounts(house))["global", ""] == 0.4


async def test_an_unknown_price_of_a_call_that_was_reserved_is_its_worst(house: StateHouse) -> None:
    run = await house.start()
    await reserve(house, run, 0.4)
    await checkpoint(house, run, 0.0, cost_known=False)
    assert (await accounts(house))["agent", "echo"] == 0.4
    assert (await house.rows(runs))[0]["cost_estimated"] is True


async def test_nobody_reserves_for_a_run_that_went_to_another(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await house.processes.declare_dead(["p1"])
    with pytest.raises(FencedError):
        await reserve(house, run, 0.1)
    assert await house.rows(reservations) == []


async def test_a_settlement_that_is_told_twice_is_charged_once(house: StateHouse) -> None:
    run = await house.start()
    await reserve(house, run, 0.4)
    await house.settle(run, cost_usd=0.2)
    await house.settle(run, cost_usd=0.2)
    assert (await accounts(house))["agent", "echo"] == 0.2


async def ask_for_money(house: StateHouse, run: Run, over: OverBudget, n: int = 0) -> None:
    details = {
        "scope": over.account.scope.value,
        "name": over.account.name,
        "day": over.account.day,
        "limit_usd": over.limit_usd,
        "spent_usd": over.spent_usd,
        "needed_usd": over.needed_usd,
        "raises": over.raises,
    }
    asked = question(
        run, f"budget/{n}", kind=ClarificationKind.CHOICE, options=(RAISE, STOP), purpose="budget", details=details
    )
    await house.settle(run, RunStatus.WAITING, question=asked, waiting_kind=WaitingKind.BUDGET)


async def over_budget(house: StateHouse, run: Run) -> OverBudget:
    decision = await reserve(house, run, 0.6)
    assert isinstance(decision, OverBudget)
    return decision


async def test_one_dollar_more_lets_every_run_go_on_that_waits_for_it(house: StateHouse) -> None:
    spender, one, two = [await house.start() for _ in range(3)]
    await house.settle(spender, cost_usd=0.9)
    for run in (one, two):
        await ask_for_money(house, run, await over_budget(house, run))
    waiting = await house.run(one.run_id)
    assert waiting.waiting_for is not None
    assert waiting.waiting_for.kind is WaitingKind.BUDGET
    await house.answer(one.run_id, RAISE)
    await BudgetStore(house.database, house.clock, house.announced).go_on()
    claimed = {item.run.run_id: item.run for item in await house.claim()}
    assert set(claimed) == {one.run_id, two.run_id}
    (told,) = await house.store.answers_of(two.run_id)
    assert (told.status, told.answer) == (ClarificationStatus.ANSWERED, RAISE)
    assert await reserve(house, claimed[one.run_id], 0.6) == Reserved()
    assert isinstance(await reserve(house, claimed[two.run_id], 0.6), Busy)
    raised = [row["raised_usd"] for row in await house.rows(spending) if row["scope"] == "agent"]
    assert raised == [1.0]


async def test_the_limit_is_raised_once_by_one_answer(house: StateHouse) -> None:
    spender, one = await house.start(), await house.start()
    await house.settle(spender, cost_usd=0.9)
    await ask_for_money(house, one, await over_budget(house, one))
    answers = await asyncio.gather(*(house.answer(one.run_id, RAISE) for _ in range(5)), return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    over = await reserve(house, (await house.claim())[0].run, 1.5)
    assert isinstance(over, OverBudget)
    assert (over.limit_usd, over.raises) == (2.0, 1)


async def test_stop_raises_nothing_and_lets_nobody_else_go_on(house: StateHouse) -> None:
    spender, one, two = [await house.start() for _ in range(3)]
    await house.settle(spender, cost_usd=0.9)
    for run in (one, two):
        await ask_for_money(house, run, await over_budget(house, run))
    await house.answer(one.run_id, STOP)
    await BudgetStore(house.database, house.clock, house.announced).go_on()
    assert await house.claimed_ids() == [one.run_id]
    assert await house.status(two.run_id) is RunStatus.WAITING


async def test_a_new_day_ends_the_wait_for_the_old_ones_money(house: StateHouse) -> None:
    spender, one = await house.start(), await house.start()
    await house.settle(spender, cost_usd=0.9)
    await ask_for_money(house, one, await over_budget(house, one))
    await house.later(days=1)
    await BudgetStore(house.database, house.clock, house.announced).go_on()
    (again,) = await house.claim()
    assert await reserve(house, again.run, 0.6) == Reserved()


@pytest.mark.slow
async def test_settlements_and_reservations_at_once_neither_hang_nor_lose_a_cent(house: StateHouse) -> None:
    """Each in its own transactions, over the same accounts: the order of locks holds (R8)."""
    started = [await house.start(process="p1" if n % 2 else "p2", reply=True) for n in range(24)]
    everybody = Account(scope=Scope.GLOBAL, name="", day=day_of(house.clock.now()))
    limits = [of_agent(house, 100.0), Limit(account=everybody, limit_usd=100.0)]

    async def work(run: Run) -> None:
        for call in range(3):
            assert await reserve(house, run, 0.05, [*limits, of_run(run, 10.0)], call=call) == Reserved()
            await checkpoint(house, run, 0.02)
        await house.settle(run, cost_usd=0.01)

    await asyncio.wait_for(asyncio.gather(*(work(run) for run in started)), 45)
    found = await accounts(house)
    assert found["agent", "echo"] == found["global", ""] == found["channel", "C1"] == pytest.approx(24 * 0.07)
    assert await house.rows(reservations) == []


async def test_what_was_spent_is_known_for_a_year_and_that_of_a_run_as_long_as_the_run(house: StateHouse) -> None:
    run = await house.start()
    await reserve(house, run, 0.4, [of_agent(house), of_run(run, 1.0)])
    await house.settle(run, cost_usd=0.2)
    await house.database.write(lambda connection: connection.execute(outbox.delete()))
    sweep = Retention(house.database, house.clock, pause_seconds=0.0)
    await house.later(days=32)
    await sweep.sweep()
    assert await accounts(house) == {("agent", "echo"): 0.2, ("global", ""): 0.2, ("user", "tess"): 0.2}
    await house.later(days=400)
    assert (await sweep.sweep())["spending"] == 3


async def test_a_free_model_of_somebodys_is_counted_and_a_played_one_is_not(house: StateHouse) -> None:
    budgets = BudgetStore(house.database, house.clock)
    played, free = await house.start(), await house.start()
    await checkpoint(house, played, 0.0, progress=(call_line("echo", 0.0),))
    await checkpoint(house, free, 0.0, progress=(call_line("llama3.1", 0.0),))
    today = day_of(house.clock.now())
    for scope, name in ((Scope.MODEL, "llama3.1"), (Scope.AGENT, "echo"), (Scope.GLOBAL, today)):
        (line,) = await budgets.costs("default", scope, today, today)
        assert line == CostLine(name=name, usd=0.0, estimated_usd=0.0, input_tokens=10, output_tokens=5, model_calls=1)


async def test_the_report_tells_days_apart_and_what_is_estimated(house: StateHouse) -> None:
    budgets = BudgetStore(house.database, house.clock)
    yesterday = day_of(house.clock.now())
    await house.settle(await house.start(), cost_usd=0.5)
    await house.later(days=1)
    today = day_of(house.clock.now())
    lost = await house.start(process="p2")
    await reserve(house, lost, 0.25)
    left = (await budgets.standings("default", [of_agent(house)]))[0]
    assert (left.spent_usd, left.others_usd) == (0.0, 0.25)
    await house.processes.declare_dead(["p2"])
    days = await budgets.costs("default", Scope.GLOBAL, yesterday, today)
    assert [(line.name, line.usd, line.estimated_usd) for line in days] == [(today, 0.25, 0.25), (yesterday, 0.5, 0.0)]
    (agent,) = await budgets.costs("default", Scope.AGENT, yesterday, today)
    assert (agent.usd, agent.estimated_usd) == (0.75, 0.25)
    assert await budgets.costs("other", Scope.AGENT, yesterday, today) == []


async def test_a_run_knows_the_channel_by_its_name_too(house: StateHouse) -> None:
    budgets = BudgetStore(house.database, house.clock)
    parent = await house.start(mode="collaborative", reply=True, channel={"id": "C1", "name": "eng"})
    child = house.child(parent, "one")
    await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=(child,))
    (step,) = await house.claim()
    assert await budgets.origin(step.run) == Origin(agent="echo", channel="C1", channel_name="eng", user="tess")


@pytest.mark.slow
@pytest.mark.parametrize("open_database", [open_sqlite, open_three_postgres], ids=["one-process", "three-processes"])
async def test_G4_whoever_settles_or_dies_fifty_runs_keep_within_a_dollar(
    tmp_path: Path, open_database: Callable[[Path], AbstractAsyncContextManager[Database]]
) -> None:
    """Reserving, settling and losing processes at once, over one database."""
    async with open_database(tmp_path) as database:
        house = await StateHouse(database).open()
        started = [await house.start(process="p1" if n % 5 else "p2") for n in range(50)]

        async def work(run: Run, number: int) -> None:
            for _ in range(20):
                decision = await reserve(house, run, 0.05)
                if isinstance(decision, OverBudget):
                    return
                if isinstance(decision, Reserved):
                    await house.settle(run, cost_usd=0.05 if number % 2 else 0.02)
                    return
                spent = sum(row["usd"] for row in await house.rows(spending) if row["scope"] == "agent")
                held = sum(row["usd"] for row in await house.rows(reservations) if row["scope"] == "agent")
                assert max(spent, held) <= 1.0 + 1e-6

        lost = asyncio.create_task(house.processes.declare_dead(["p2"]))
        ended = await asyncio.gather(*(work(run, n) for n, run in enumerate(started)), return_exceptions=True)
        await lost
        assert all(error is None or isinstance(error, FencedError) for error in ended)
        found = await accounts(house)
        assert 0.5 < found["agent", "echo"] == found["global", ""] <= 1.0
        assert await house.rows(reservations) == []
