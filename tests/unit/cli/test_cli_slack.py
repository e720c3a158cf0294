"""`callboard slack`: what it tells about an app, and what it shows of an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.cli.main import run_cli
from callboard.integrations.slack_local import LocalSlack


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        yield running


@pytest.fixture
def shell(
    slack: LocalSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLACK_API_URL", slack.api_url)
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "8f742231b10e8888abcd99yyyzzz85a5")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-local")

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(run_cli, arguments)
        return code, capsys.readouterr().out

    return run


async def test_the_doctor_is_content_with_a_token_that_may_do_everything(shell: Any) -> None:
    code, out = await shell("slack", "doctor", "-o", "json")
    assert code == 0
    assert {check["check"]: check["status"] for check in json.loads(out)["checks"]}["scopes"] == "done"


async def test_the_doctor_tells_of_a_scope_that_an_older_app_lacks_and_what_to_do(
    shell: Any, slack: LocalSlack
) -> None:
    slack.workspace.scopes -= {"files:write", "commands"}
    code, out = await shell("slack", "doctor", "-o", "json")
    assert code == 1
    [scopes] = [check for check in json.loads(out)["checks"] if check["check"] == "scopes"]
    assert scopes["status"] == "failed"
    assert scopes["message"].startswith("missing: commands, files:write (for pictures")
    assert "install the app once more" in scopes["message"]
    assert "files:write" in (await shell("slack", "doctor"))[1]
