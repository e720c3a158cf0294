"""The source as trees, for tests that judge its shape."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "callboard"
_MIGRATIONS = PACKAGE / "state" / "sql" / "migrations"


def files(folder: Path) -> list[Path]:
    """Every Python file below a folder but the generated migrations, in order."""
    return sorted(path for path in folder.rglob("*.py") if not path.is_relative_to(_MIGRATIONS))


@cache
def tree(path: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name(path: Path) -> str:
    """How a test shows the file: its path in the repository."""
    return str(path.relative_to(ROOT))


def imported(node: ast.AST) -> Iterator[str]:
    """The absolute names that one import statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(root: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with a dotted name, such as `time.sleep`."""
    for node in ast.walk(root):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node
