"""The tree is the architecture (DESIGN.md, The house; .importlinter)."""

from __future__ import annotations

import ast
import graphlib
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.architecture.source import PACKAGE, ROOT, files, imported, name, tree

_LATE = {
    "src/callboard/agents/tools/send_email.py": {"aiosmtplib"},
    "src/callboard/agents/tools/sql_query_check.py": {"sqlglot"},
    "src/callboard/agents/tools/sql_query_tables.py": {"sqlglot"},
    "src/callboard/llm/library_prices.py": {"genai_prices"},
    "src/callboard/schema_check.py": {"jsonschema"},
    "src/callboard/state/sql/migrating.py": {"alembic"},
}
"""Imports inside functions: heavy libraries that most processes never need, each in its one adapter."""


def _lint(source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(ROOT / ".importlinter")],
        cwd=source,
        env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_imports_go_one_way_and_each_library_has_its_place() -> None:
    result = _lint(PACKAGE.parent)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "line", "told"),
    [
        ("callboard/newcomer.py", "", "callboard.newcomer"),
        ("callboard/agents/wrong.py", "import callboard.scheduler", "callboard.agents.wrong -> callboard.scheduler"),
        ("callboard/clock_face.py", "", "callboard.clock_face"),
        ("callboard/messaging/wrong.py", "import callboard.state", "callboard.messaging.wrong -> callboard.state"),
        ("callboard/agents/wrong.py", "import sqlalchemy", "callboard.agents.wrong -> sqlalchemy"),
        ("callboard/config/wrong.py", "import yaml", "callboard.config.wrong -> yaml"),
        ("callboard/state/wrong.py", "import slack_sdk", "callboard.state.wrong -> slack_sdk"),
    ],
)
def test_what_breaks_the_order_is_refused(tmp_path: Path, path: str, line: str, told: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / "callboard", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / path).write_text(f'"""Breaks the order."""\n{line}\n')
    result = _lint(tmp_path)
    assert result.returncode != 0
    assert told in result.stdout


@pytest.mark.slow
def test_no_module_imports_itself_by_a_detour() -> None:
    graph = grimp.build_graph("callboard", exclude_type_checking_imports=True, cache_dir=None)
    edges = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(edges).prepare()


@pytest.mark.parametrize("path", files(PACKAGE), ids=name)
def test_imports_stand_at_the_top(path: Path) -> None:
    late = {
        imported_name
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        for imported_name in imported(node)
    }
    late = {found for found in late if found.partition(".")[0] not in _LATE.get(name(path), ())}
    assert late == set(), "imports inside functions are for heavy optional libraries in their one adapter"


def test_slack_s_library_is_used_by_the_slack_files_only() -> None:
    users = {path.name for path in files(PACKAGE) for node in ast.walk(tree(path)) if _imports(node, "slack_sdk")}
    assert all(user.startswith("slack_") for user in users), users


def _imports(node: ast.AST, library: str) -> bool:
    return any(found == library or found.startswith(f"{library}.") for found in imported(node))
