"""The order of events: set the stage, play the scenes, clear away."""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import TextIO

from callboard.clock import Clock, SystemClock
from callboard.demo.process import CallboardProcess
from callboard.demo.scenes import SCENES, Stage
from callboard.demo.screen import Screen
from callboard.errors import CallboardError
from callboard.integrations.slack_local import LocalSlack

SECRET = "the-demo-s-own-signing-secret"  # noqa: S105  # made for this run, known to nobody's Slack
LONGEST_SECONDS = 120.0
"""It takes some 12 s by itself; a machine that has ten times as much to do still shows all of it."""


def run(out: TextIO | None = None, *, files: Path | None = None) -> int:
    """`callboard demo`: 0 when everything happened, 1 when something did not, which it says.

    `files` holds the folders `agents` and `edits` in place of those that come with the product.
    """
    target = out or sys.stdout
    if isinstance(target, io.TextIOWrapper):
        # A terminal that cannot show a sign shows another one.
        target.reconfigure(errors="replace")
    screen = Screen(target)
    with resources.as_file(resources.files(__package__)) as packaged:
        return asyncio.run(_run(screen, files or packaged))


async def _run(screen: Screen, files: Path) -> int:
    folder = Path(tempfile.mkdtemp(prefix="callboard-demo-"))
    shutil.copytree(files / "agents", folder / "agents")
    clock = SystemClock()
    begun = clock.monotonic()
    happened: bool | None = None
    try:
        async with LocalSlack() as slack:
            happened = await _with_slack(slack, folder, files / "edits", screen, clock)
    finally:
        if happened is not False:
            shutil.rmtree(folder)
    if not happened:
        screen.say(f"\nThe demo stopped. Its files, logs among them, are kept in {folder}")
        return 1
    screen.say(f"\nThat was all of it, in {clock.monotonic() - begun:.0f} seconds; the temporary files are removed.")
    screen.say("Next: README.md, “Five minutes”, or `callboard up`.")
    return 0


async def _with_slack(slack: LocalSlack, folder: Path, edits: Path, screen: Screen, clock: Clock) -> bool:
    settings = {
        "SLACK_SIGNING_SECRET": SECRET,
        "SLACK_BOT_TOKEN": "xoxb-demo",
        "SLACK_API_URL": slack.api_url,
        **({"FORCE_COLOR": "1"} if screen.colours else {}),
    }
    callboard = CallboardProcess(folder, settings, clock)
    try:
        return await _play(
            Stage(callboard=callboard, slack=slack, secret=SECRET, edits=edits, screen=screen, clock=clock)
        )
    finally:
        await callboard.stop()


async def _play(stage: Stage) -> bool:
    """Whether every scene happened."""
    title = "The system starts"
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await stage.open()
            for title, scene in SCENES:
                stage.screen.scene(title)
                await scene(stage)
    except CallboardError as error:
        stage.screen.bad(f"did not happen: {title}: {error.message}")
        return False
    except TimeoutError:
        stage.screen.bad(f"did not happen within {LONGEST_SECONDS:g} s of the start: {title}")
        stage.screen.bad("It takes some 12 s on a machine that is not busy: try again when this one is not.")
        return False
    return True
