"""Which tools agent files may name, as far as files alone tell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

BUILT_IN_TOOLS = frozenset(
    {
        "chart",
        "http_get",
        "http_post",
        "recall",
        "remember",
        "run_agent",
        "run_python",
        "send_email",
        "slack_post",
        "sql_query",
        "web_search",
    }
)


def written_tools(folder: Path) -> frozenset[str]:
    """The names of the functions under `@tool` in a folder's files; nothing of them is run. What cannot be read, and
    what makes its tools in another way, is not among them."""
    if not folder.is_dir():
        return frozenset()
    return frozenset(name for path in sorted(folder.glob("*.py")) for name in _marked(path))


def _marked(path: Path) -> Iterator[str]:
    try:
        module = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for function in module.body:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (name for mark in function.decorator_list if (name := _name(function.name, mark)) is not None)


def _name(function: str, mark: ast.expr) -> str | None:
    called = mark.func if isinstance(mark, ast.Call) else mark
    if (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)) != "tool":
        return None
    keywords = mark.keywords if isinstance(mark, ast.Call) else []
    given = next((word.value for word in keywords if word.arg == "name"), None)
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else function
