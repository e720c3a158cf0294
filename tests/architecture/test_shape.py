"""The shape of the code (STYLE.md, Shape and Habits; DESIGN.md, rule 11)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, ROOT, calls, files, imported, name, tree

MAX_LINES = 400
# One metadata object for all tables is what Alembic compares; it is data, not code.
_LONGER = frozenset({"src/callboard/state/models.py"})
_FOLDERS = ("alembic", "benchmarks", "config/agents", "data", "docs", "logs", "scripts", "src/callboard", "tests")
_VAGUE = frozenset({"utils", "util", "helpers", "helper", "common", "base", "misc"})

# Time, ids and randomness come from ports. These are the ports, and what measures how long something took.
_CLOCK_READERS = frozenset({"clock.py", "log_lines.py", "log_writer.py"})
_CLOCK_CALLS = frozenset(
    {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
)
_RANDOM_IMPORTS = frozenset({"random", "uuid.uuid1", "uuid.uuid4"})
_RANDOM_CALLS = frozenset({"uuid.uuid1", "uuid.uuid4"})


@pytest.mark.parametrize("folder", _FOLDERS)
def test_every_top_level_folder_stands(folder: str) -> None:
    assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("path", [*files(PACKAGE), *files(ROOT / "tests")], ids=name)
def test_a_file_has_one_reason_to_change(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = MAX_LINES if path.is_relative_to(PACKAGE) else 2 * MAX_LINES
    assert lines <= limit or name(path) in _LONGER, f"{lines} lines: split it along its two reasons to change"


def test_no_file_has_a_vague_name() -> None:
    assert [name(path) for path in files(PACKAGE) if path.stem in _VAGUE or path.parent.name in _VAGUE] == []


@pytest.mark.parametrize("path", [path for path in files(PACKAGE) if path.stat().st_size], ids=name)
def test_each_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("path", files(PACKAGE), ids=name)
def test_each_port_is_a_contract(path: Path) -> None:
    ports = [node for node in tree(path).body if isinstance(node, ast.ClassDef) and _is_port(node)]
    assert [port.name for port in ports if not port.name.startswith("_") and not ast.get_docstring(port)] == []


@pytest.mark.parametrize("path", files(PACKAGE), ids=name)
def test_time_and_randomness_come_from_ports(path: Path) -> None:
    if path.name not in _CLOCK_READERS:
        assert {called for called, _ in calls(tree(path))} & _CLOCK_CALLS == set()
    named = {found for node in ast.walk(tree(path)) for found in imported(node)}
    assert named & _RANDOM_IMPORTS == set()
    assert {called for called, _ in calls(tree(path))} & _RANDOM_CALLS == set()


@pytest.mark.parametrize("path", files(ROOT / "tests"), ids=name)
def test_tests_use_no_mocks(path: Path) -> None:
    modules = {found for node in ast.walk(tree(path)) for found in imported(node)}
    assert not any(module.startswith(("unittest.mock", "mock")) for module in modules)


@pytest.mark.parametrize("path", files(ROOT / "tests"), ids=name)
def test_tests_do_not_sleep(path: Path) -> None:
    if not path.name.startswith("test_") or path.name == "test_suite_guards.py":
        return
    slept = [
        f"line {call.lineno}"
        for called, call in calls(tree(path))
        if called in {"time.sleep", "asyncio.sleep"} and not _is_zero(call)
    ]
    assert slept == [], "advance the ManualClock, or wait_until what you wait for"


def _is_port(node: ast.ClassDef) -> bool:
    return any(ast.unparse(parent).split("[")[0] in {"Protocol", "ABC"} for parent in node.bases)


def _is_zero(call: ast.Call) -> bool:
    return len(call.args) >= 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
