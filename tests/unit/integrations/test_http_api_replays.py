"""Replays over HTTP where there is nothing to replay, or nothing left."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from callboard.clock import ManualClock
from callboard.state.retention import Retention
from tests.support.api_house import api_house


async def test_a_run_whose_records_were_deleted_cannot_be_replayed_or_compared_with(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        task = await house.invoke(client)
        early = await client.post(f"/api/v1/runs/{task}/replay", json={})
        assert (early.status_code, early.json()["error"]["code"]) == (409, "not_ended")
        await house.work()
        begun = await client.post(f"/api/v1/runs/{task}/replay", json={})
        assert begun.status_code == 202, begun.text
        replay = begun.json()["task_id"]
        unfinished = await client.get(f"/api/v1/runs/{replay}/comparison")
        assert (unfinished.status_code, unfinished.json()["error"]["code"]) == (409, "not_ended")
        await house.work()
        compared = (await client.get(f"/api/v1/runs/{replay}/comparison")).json()
        assert (compared["equal"], compared["origin_run_id"]) == (True, task)

        later = ManualClock(house.clock.now() + timedelta(days=400))
        await Retention(house.database, later, days=30, pause_seconds=0.0).sweep()
        for answer in (
            await client.post(f"/api/v1/runs/{task}/replay", json={}),
            await client.get(f"/api/v1/runs/{replay}/comparison"),
        ):
            assert answer.status_code == 404
            assert "deleted after the days that runs are kept (CALLBOARD_RETENTION_DAYS)" in answer.text
