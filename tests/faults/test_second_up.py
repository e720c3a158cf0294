"""A second `callboard up` on one data folder is refused, and the folder is free once its holder is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.embedded_process import Premises, invoke, launch, result, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ECHO = """\
name: echo
agent_type: demo
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
"""


async def test_a_second_up_on_one_data_folder_is_refused_and_says_who_holds_it(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(echo=ECHO)
    async with running(premises) as first:
        second = launch(premises)
        try:
            assert await second.exit_code() == 1
        finally:
            second.kill()
        said = second.err.read_text()
        assert f"process {first.pid}" in said, second.told
        assert str(premises.data) in said
        assert "--data" in said
        assert "Traceback" not in said + "".join(second.lines)

        async with first.client() as client:
            task = await invoke(client, "echo", "still here")
            assert (await result(client, task))["output"] == "still here"


async def test_after_a_kill_of_the_holder_the_folder_can_be_had_at_once(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(echo=ECHO)
    async with running(premises) as first, first.client() as client:
        task = await invoke(client, "echo", "kept")
        first.kill()
    async with running(premises) as second, second.client() as client:
        assert (await result(client, task))["output"] == "kept"
        assert str(first.pid) not in (premises.data / "callboard.lock").read_text()


async def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    premises, other = Premises(tmp_path / "one"), Premises(tmp_path / "two")
    premises.add_agents(echo=ECHO)
    async with running(premises) as first:
        second = launch(other, "--port", first.url.rpartition(":")[2])
        try:
            assert await second.exit_code() == 4
        finally:
            second.kill()
        assert "cannot listen on" in second.err.read_text(), second.told
