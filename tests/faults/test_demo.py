"""`callboard demo` shows everything and ends by itself; what does not happen is said, with exit code 1."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.processes import ROOT, child

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

DEMO = ROOT / "src" / "callboard" / "demo"
WITHIN = 150.0
"""The interface promises 60 s where nothing else runs; here three other tests do, and it gives up after two minutes."""


def _run(tmp_path: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    with child(*arguments, env={"TMPDIR": str(tmp_path), **settings}, cwd=tmp_path) as demo:
        return demo.exit_code(within=WITHIN), demo.output


def test_the_demo_shows_the_whole_product_and_leaves_nothing_behind(tmp_path: Path) -> None:
    code, shown = _run(tmp_path, "-m", "callboard", "demo")
    assert code == 0, shown
    for told in (
        r"greeter +Hello! You wrote: Callboard",
        r"lookout\.every-two-seconds: \S+ fired",
        r"clocks go forward on .* does not exist, fires at 03:00",
        r"poet +An old silent pond; frog",
        r"refused +agents/poet.yaml:10:1: unknown key 'slakc' \(did you mean 'slack'\?\)",
        r"poet: version 1 is still in force",
        r"Where shall we go\?  \[Berlin\] \[Paris\]",
        r"trip +The trip goes to Paris\.",
        r"diary +Entry 2 of your diary: buy coffee too",
        r"question Where shall we go\? +answered .* anna: Paris",
    ):
        assert re.search(told, shown), f"{told} is missing in:\n{shown}"
    assert list(tmp_path.iterdir()) == []


def test_the_settings_of_who_runs_the_demo_do_not_change_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CALLBOARD_PORT=1\nCALLBOARD_API_TOKEN=secret\n")
    code, shown = _run(tmp_path, "-m", "callboard", "demo", DATABASE_URL="postgresql://nowhere/x", CALLBOARD_PORT="1")
    assert code == 0, shown


def test_what_does_not_happen_is_named_and_the_exit_code_says_so(tmp_path: Path) -> None:
    files, place = tmp_path / "files", tmp_path / "place"
    shutil.copytree(DEMO, files)
    place.mkdir()
    (files / "agents" / "diary.yaml").write_text("name: [\n")
    script = f"import sys, pathlib; from callboard.demo import run; sys.exit(run(files=pathlib.Path({str(files)!r})))"
    code, shown = _run(place, "-c", script)
    assert code == 1, shown
    assert "did not happen: An agent remembers its conversation over kill -9" in shown
    kept = re.search(r"are kept in (\S+)", shown)
    assert kept is not None
    assert (Path(kept[1]) / "logs").is_dir()
