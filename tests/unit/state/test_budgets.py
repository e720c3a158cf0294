"""The arithmetic of budgets: what may be reserved, whoever asks in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.state.budgets import (
    RAISE_USD,
    TOLERANCE_USD,
    Account,
    Busy,
    Limit,
    OverBudget,
    Reserved,
    Scope,
    Standing,
    day_of,
    decide,
    strictest,
)

TODAY = "2026-11-21"
AGENT = Account(scope=Scope.AGENT, name="writer", day=TODAY)
EVERYBODY = Account(scope=Scope.GLOBAL, name="", day=TODAY)


def standing(account: Account = AGENT, limit: float = 1.0, **parts: float) -> Standing:
    return Standing(limit=Limit(account=account, limit_usd=limit), **parts)


def test_a_call_that_fits_is_reserved() -> None:
    assert decide([standing(spent_usd=0.9)], 0.1) == Reserved()
    assert decide([], 1000.0) == Reserved()


def test_a_call_that_could_pass_the_limit_needs_a_person() -> None:
    over = decide([standing(EVERYBODY, 5.0), standing(spent_usd=0.7, own_usd=0.25, raised_usd=0.0)], 0.06)
    assert over == OverBudget(account=AGENT, limit_usd=1.0, spent_usd=0.95, needed_usd=0.06, raises=0)


def test_only_other_runs_reservations_are_waited_for() -> None:
    assert isinstance(decide([standing(others_usd=0.95)], 0.06), Busy)
    assert isinstance(decide([standing(own_usd=0.95)], 0.06), OverBudget)


def test_a_raise_gives_room_and_is_counted() -> None:
    assert decide([standing(spent_usd=1.0, raised_usd=RAISE_USD)], 0.5) == Reserved()
    over = decide([standing(spent_usd=3.0, raised_usd=2 * RAISE_USD)], 0.5)
    assert isinstance(over, OverBudget)
    assert (over.limit_usd, over.raises) == (3.0, 2)


def test_ten_tenths_are_a_dollar() -> None:
    spent = 0.0
    for _ in range(10):
        assert decide([standing(spent_usd=spent)], 0.1) == Reserved()
        spent += 0.1
    assert isinstance(decide([standing(spent_usd=spent)], 0.000_001), OverBudget)


def test_of_two_limits_of_one_account_the_lower_holds_and_accounts_have_one_order() -> None:
    run = Account(scope=Scope.RUN, name="r1")
    limits = [
        Limit(account=run, limit_usd=2.0),
        Limit(account=EVERYBODY, limit_usd=9.0),
        Limit(account=run, limit_usd=0.5),
        Limit(account=AGENT, limit_usd=3.0),
    ]
    assert [(limit.account, limit.limit_usd) for limit in strictest(limits)] == [
        (AGENT, 3.0),
        (EVERYBODY, 9.0),
        (run, 0.5),
    ]
    assert strictest(limits) == strictest(limits[::-1])


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 21, 23, 59, tzinfo=UTC), "2026-11-21"),
        (datetime(2026, 11, 22, 0, 30, tzinfo=timezone(timedelta(hours=2))), "2026-11-21"),
    ],
)
def test_a_day_is_one_of_utc(moment: datetime, day: str) -> None:
    assert day_of(moment) == day


@dataclass
class Ledger:
    """One account, kept by the plainest means."""

    limit: float
    spent: float = 0.0
    raised: float = 0.0
    reserved: dict[int, list[float]] = field(default_factory=dict)

    def standing(self, run: int) -> Standing:
        others = sum(sum(held) for name, held in self.reserved.items() if name != run)
        return Standing(
            limit=Limit(account=AGENT, limit_usd=self.limit),
            spent_usd=self.spent,
            raised_usd=self.raised,
            own_usd=sum(self.reserved.get(run, [])),
            others_usd=others,
        )


cents = st.integers(min_value=1, max_value=60).map(lambda n: n / 100)
steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "lose", "raise"]),
        st.integers(min_value=0, max_value=4),
        cents,
        st.floats(min_value=0.0, max_value=1.0),
    ),
    max_size=60,
)


@given(limit=st.sampled_from([0.5, 1.0, 2.5]), steps=steps)
def test_G4_no_interleaving_of_runs_spends_more_than_the_limit(
    limit: float, steps: list[tuple[str, int, float, float]]
) -> None:
    """As long as no call costs more than its worst, whatever is lost, settled or raised in between."""
    ledger = Ledger(limit)
    for what, run, usd, part in steps:
        held = ledger.reserved.get(run, [])
        match what:
            case "reserve":
                decision = decide([ledger.standing(run)], usd)
                if isinstance(decision, Reserved):
                    ledger.reserved.setdefault(run, []).append(usd)
                elif isinstance(decision, Busy):
                    assert any(name != run and sums for name, sums in ledger.reserved.items())
            case "settle":
                ledger.spent += sum(held) * part
                ledger.reserved.pop(run, None)
            case "lose":
                ledger.spent += sum(held)
                ledger.reserved.pop(run, None)
            case "raise":
                ledger.raised += RAISE_USD
        reserved = sum(sum(sums) for sums in ledger.reserved.values())
        assert ledger.spent + reserved <= ledger.limit + ledger.raised + 60 * TOLERANCE_USD


@given(limit=st.sampled_from([0.5, 1.0]), worst=cents, spent=cents)
def test_a_run_alone_never_waits_for_itself(limit: float, worst: float, spent: float) -> None:
    """Where nobody else has reserved anything there is an answer at once."""
    ledger = Ledger(limit, spent=spent, reserved={0: [worst]})
    assert not isinstance(decide([ledger.standing(0)], worst), Busy)
