"""What agents have cost, over HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from callboard.config.models_file import BudgetSettings, ModelsFile
from callboard.integrations.http_api.app import HttpApi
from callboard.state.budgets import Account, Limit, Scope, day_of
from callboard.state.effects import Claim
from tests.support.api_house import ECHO, ApiHouse, api_house

LIMITED = ECHO.format(name="echo") + "limits: {daily_cost_usd: 2}\n"


async def spent(house: ApiHouse, runs: int = 1) -> None:
    """A cent each."""
    async with house.client() as client:
        for _ in range(runs):
            await house.invoke(client)
            await house.work()


@pytest.mark.parametrize("by", ["agent", "day", "user"])
async def test_the_sums_are_of_what_one_asks_for(tmp_path: Path, by: str) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        await spent(house, runs=3)
        report = (await client.get("/api/v1/costs", params={"by": by})).json()
        (line,) = report["costs"]
        assert line["usd"] == report["total_usd"] == pytest.approx(0.03)
        assert (line["input_tokens"], line["output_tokens"], line["model_calls"]) == (9, 15, 3)
        assert line[by] == {"agent": "echo", "day": report["to"], "user": line.get("user")}[by]


async def test_nothing_was_spent_in_the_week_before(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        await spent(house)
        before = house.clock.now() - timedelta(days=1)
        days = {"from": day_of(before - timedelta(days=6)), "to": day_of(before)}
        report = (await client.get("/api/v1/costs", params=days)).json()
        assert (report["costs"], report["total_usd"], report["from"]) == ([], 0, days["from"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "2026-02-30"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"by": "moon"}, "by"),
    ],
)
async def test_what_is_no_day_is_named(tmp_path: Path, query: dict[str, str], field: str) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        refused = await client.get("/api/v1/costs", params=query)
        assert refused.status_code in (400, 422)
        assert field in str(refused.json()["error"])


async def test_what_is_left_of_todays_budgets_is_told(tmp_path: Path) -> None:
    async def models() -> ModelsFile:
        return ModelsFile(budgets=BudgetSettings(daily_usd=5, channels={"#eng": 1}))

    async with api_house(tmp_path) as house:
        await house.put(LIMITED)
        await house.services.versions.refresh()
        await spent(house)
        async with house.client() as client:
            await house.invoke(client)
        run = (await house.claim()).run
        today = Account(scope=Scope.AGENT, name="echo", day=day_of(house.clock.now()))
        claim = Claim(run_id=run.run_id, fencing=run.fencing)
        await house.services.budgets.reserve(claim, 0, 0.5, [Limit(account=today, limit_usd=2)])
        api = HttpApi(replace(house.services, models=models))
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=api), base_url="http://127.0.0.1", headers=house.headers
        ) as client:
            budgets = (await client.get("/api/v1/costs")).json()["budgets"]
    found = {(each["scope"], each["name"]): each for each in budgets}
    echo = found["agent", "echo"]
    assert (echo["limit_usd"], echo["spent_usd"], echo["reserved_usd"]) == (2, pytest.approx(0.01), 0.5)
    assert echo["remaining_usd"] == pytest.approx(1.49)
    assert found["global", ""]["remaining_usd"] == pytest.approx(4.99)
    assert found["channel", "#eng"]["remaining_usd"] is None
