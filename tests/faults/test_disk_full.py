"""A disk that is full: nothing is acknowledged that could not be kept, nothing kept is lost, it goes on by itself."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_simulator import SlackSimulator
from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, launch, result
from tests.support.slack_app import SECRET
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

AGENT = """\
name: {name}
agent_type: demo
execution_mode: autonomous
llm_config: {{provider: scripted, model_id: script, script: [{rule}]}}
slack: {{commands: [/{name}], mentions: true}}
"""
ECHO = AGENT.format(name="echo", rule='{say: "{input}"}')
SLOW = AGENT.format(name="slow", rule='{wait_seconds: 8, say: "{input}"}').replace("mentions: true", "mentions: false")
MEBIBYTE = 1024 * 1024


def _refused() -> str | None:
    """Why this machine cannot give a process a small disk of its own, None when it can."""
    if os.geteuid() != 0:
        return "a private tmpfs needs root: run this as root or in a container"
    tried = subprocess.run(
        ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"mounting is not allowed here: {tried.stderr.strip()}"


@pytest.fixture(scope="module", autouse=True)
def _small_disks() -> None:
    try:
        reason = _refused()
    except FileNotFoundError:
        reason = "there is no `unshare` on this machine (package util-linux)"
    if reason is not None:
        pytest.skip(reason)


class SmallDisk:
    """A file system of a process's own, reached through /proc; `fill` leaves not a byte, `free` gives all back."""

    def __init__(self, process: EmbeddedProcess, folder: Path) -> None:
        self.folder = Path(f"/proc/{process.pid}/root{folder}")
        self._filler = self.folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (MEBIBYTE, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass

    def free(self) -> None:
        self._filler.unlink()


@contextlib.asynccontextmanager
async def on_small_disk(
    premises: Premises, folder: Path, size: str
) -> AsyncIterator[tuple[EmbeddedProcess, SmallDisk]]:
    mount = f'mount -t tmpfs -o size={size} none "{folder}" && exec "$@"'
    process = launch(premises, prefix=("unshare", "-m", "--propagation", "private", "sh", "-c", mount, "sh"))
    try:
        await process.ready()
        yield process, SmallDisk(process, folder)
    finally:
        process.kill()


async def try_invoke(client: httpx2.AsyncClient, text: str) -> httpx2.Response:
    return await client.post("/api/v1/agents/invoke", json={"agent": "echo", "input": text})


async def until_refused(client: httpx2.AsyncClient, disk: SmallDisk) -> tuple[dict[str, str], httpx2.Response]:
    """Fills the disk under load until nothing goes in any more; what was accepted by task, and the last refusal.

    A single refusal is not enough: what was undone leaves room in the log of the database for something smaller.
    """
    accepted: dict[str, str] = {}
    letters = random.Random(7)  # noqa: S311  # text that does not compress
    refused = 0
    while True:
        disk.fill()
        size = 10 if refused else 20_000
        text = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))
        answer = await try_invoke(client, text)
        if answer.status_code == 202:
            accepted[answer.json()["task_id"]] = text
            refused = 0
        else:
            refused += 1
        if refused == 30:
            return accepted, answer
        assert len(accepted) < 2000, "the disk never became full"


async def test_a_full_data_folder_refuses_honestly_loses_nothing_and_recovers_by_itself(tmp_path: Path) -> None:
    async with LocalSlack() as slack:
        beats = {"CALLBOARD_LEASE_BEAT_SECONDS": "1", "CALLBOARD_LEASE_DEAD_SECONDS": "3"}
        premises = Premises(tmp_path, {"SLACK_API_URL": slack.api_url, **beats})
        premises.add_agents(echo=ECHO, slow=SLOW)
        async with (
            on_small_disk(premises, premises.data, "8m") as (process, disk),
            process.client() as client,
            SlackSimulator(slack, gateway_url=process.url, signing_secret=SECRET) as person,
        ):
            before = await invoke(client, "echo", "before")
            assert (await result(client, before))["output"] == "before"
            slow = await invoke(client, "slow", "under way")
            await wait_until(lambda: _is_running(client, slow), "the slow run is under way before the disk is full")

            accepted, refused = await until_refused(client, disk)

            assert refused.status_code == 503, refused.text
            error = refused.json()["error"]
            assert error["code"] == "unavailable"
            assert "disk" in error["message"]
            assert (await person.mention("are you there")).status == 503
            command = await person.command("/echo are you there")
            assert command.status == 200
            assert "nothing was started" in command.body
            assert '"ephemeral"' in command.body
            assert (await client.get(f"/api/v1/agents/result/{before}")).json()["output"] == "before"

            await wait_until(
                lambda: _slow_has_ended(process, client, slow), "the slow run has met the full disk", within=40.0
            )
            await _stays_up(process, client)
            disk.free()

            for task, text in {**accepted, slow: "under way"}.items():
                assert (await result(client, task))["output"] == text
            assert (await result(client, await invoke(client, "echo", "after")))["output"] == "after"
            answered = await person.answer_to(await person.command("/echo again"))
            assert "again" in answered.shown
            assert not [message for message in slack.messages if "are you there" in message.shown]
            runs = await _count_runs(client)
            assert runs == len(accepted) + 4, f"{runs} runs for {len(accepted)} + 4 accepted"


async def _is_running(client: httpx2.AsyncClient, task: str) -> bool:
    return bool((await client.get(f"/api/v1/agents/status/{task}")).json()["status"] == "running")


async def _slow_has_ended(process: EmbeddedProcess, client: httpx2.AsyncClient, task: str) -> bool:
    """Its end cannot be stored, or found the little room that an undone commit had left in the database's log."""
    waits = any(record["message"] == "cannot store the end of a run yet" for record in process.records())
    return waits or (await client.get(f"/api/v1/agents/status/{task}")).json()["status"] == "succeeded"


async def test_a_full_log_folder_stops_nothing(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(echo=ECHO)
    async with on_small_disk(premises, premises.logs, "64k") as (process, disk), process.client() as client:
        disk.fill()
        tasks = [await invoke(client, "echo", f"text {number}") for number in range(200)]
        assert (await result(client, tasks[-1]))["output"] == "text 199"
        assert process.process.poll() is None
        disk.free()

        async def logged() -> bool:
            again = await invoke(client, "echo", "log me")
            trace = (await result(client, again))["trace_id"]
            return any(trace in path.read_text() for path in disk.folder.glob("callboard.log*"))

        await wait_until(logged, "the log goes on once there is space")


async def test_a_stop_on_a_full_disk_ends_in_time(tmp_path: Path) -> None:
    premises = Premises(tmp_path, {"CALLBOARD_DRAIN_SECONDS": "3"})
    premises.add_agents(echo=ECHO, slow=SLOW)
    async with on_small_disk(premises, premises.data, "4m") as (process, disk), process.client() as client:
        task = await invoke(client, "slow", "under way")

        async def started() -> bool:
            return bool((await client.get(f"/api/v1/agents/status/{task}")).json()["status"] == "running")

        await wait_until(started, "the run is under way")
        await until_refused(client, disk)
        process.send(signal.SIGTERM)
        assert await process.exit_code(within=30.0) == 1, process.told
        assert "Traceback" not in process.err.read_text()


@pytest.mark.parametrize("free_kib", [0, 4, 40, 200])
async def test_a_start_on_a_full_disk_says_so_in_one_sentence(tmp_path: Path, free_kib: int) -> None:
    premises = Premises(tmp_path)
    data = premises.data
    filler = f'head -c {(1024 - free_kib) * 1024} /dev/zero > "{data}/filler"'
    fill = f'mount -t tmpfs -o size=1m none "{data}" && {{ {filler}; exec "$@"; }}'
    process = launch(premises, prefix=("unshare", "-m", "--propagation", "private", "sh", "-c", fill, "sh"))
    try:
        assert await process.exit_code() == 4, process.told
    finally:
        process.kill()
    said = [line for line in process.err.read_text().splitlines() if line.startswith("Error:")]
    assert len(said) == 1, process.told
    assert str(premises.data) in said[0]
    assert "Traceback" not in process.err.read_text()


async def _stays_up(process: EmbeddedProcess, client: httpx2.AsyncClient) -> None:
    """Every loop has met the full disk by then, and none has died of it."""
    answers: list[int] = []

    async def long_enough() -> bool:
        assert process.process.poll() is None, process.told
        answers.append((await client.get("/metrics")).status_code)
        beats = [line for line in process.records() if line["message"] == "the beat did not arrive"]
        return len(beats) >= 2

    await wait_until(long_enough, "the lease has met the full disk twice")
    assert set(answers) == {200}


async def _count_runs(client: httpx2.AsyncClient) -> int:
    total, cursor = 0, None
    while True:
        parameters: dict[str, Any] = {"limit": 100, **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/v1/runs", params=parameters)).json()
        total += len(page["runs"])
        cursor = page.get("next_cursor")
        if not cursor:
            return total
