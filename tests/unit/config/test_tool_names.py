"""What files alone tell about the tools that agent files may name."""

from __future__ import annotations

from pathlib import Path

from callboard.config.tool_names import written_tools


def test_the_functions_under_tool_are_found_and_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from callboard.tools import tool\nimport callboard.tools\n"
        "raise SystemExit('never run')\n"
        "@tool\ndef plain() -> int: ...\n"
        "@tool(name='renamed')\nasync def other() -> int: ...\n"
        "@callboard.tools.tool(idempotent=True)\ndef dotted() -> int: ...\n"
        "@staticmethod\ndef none() -> int: ...\n"
        "def also_none() -> int: ...\n"
    )
    (tmp_path / "broken.py").write_text("def broken(:\n")
    assert written_tools(tmp_path) == {"plain", "renamed", "dotted"}
    assert written_tools(tmp_path / "nowhere") == frozenset()
