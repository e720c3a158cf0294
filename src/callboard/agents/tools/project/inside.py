"""What is done with a project's file in the child process: saying which tools it has, and calling one of them."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import linecache
import sys
import traceback
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call
from pydantic_core import to_json

from callboard.agents.tools.project.modules import ModuleText, ProjectModules, taken_elsewhere
from callboard.agents.tools.project.signature import OPTIONS, UnusableError, form_of
from callboard.tools import MARK, RefusedError

_MESSAGE_CHARS = 4000
_DONE = "done"
"""What a model reads of a function that returns nothing."""


def describe(module: str, modules: Mapping[str, ModuleText]) -> dict[str, Any]:
    """`{"tools": [FORM], "needs": [MODULE], "problems": [{"path", "line", "column", "message", "hint"}]}`."""
    project = ProjectModules(modules)
    needs = project.needed_by(module)
    try:
        loaded = _load(module, project)
    except UnusableError as error:
        return _with_problem(needs, modules[module]["path"], 1, 1, str(error), error.hint)
    except BaseException as error:  # noqa: BLE001  # sys.exit at import is a mistake of the file too
        traceback.print_exc()
        path, line, column = _place_of(error, project, modules[module]["path"])
        return _with_problem(needs, path, line, column, _said(error), "correct it; until then nothing of it is used")
    tools: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    own = [each for each in vars(loaded).values() if hasattr(each, MARK) and each.__module__ == module]
    for function in dict.fromkeys(own):
        line = function.__code__.co_firstlineno
        try:
            form = form_of(function)
        except UnusableError as error:
            problems.append(_problem(modules[module]["path"], line, 1, str(error), error.hint))
            continue
        before = next((each["line"] for each in tools if each["name"] == form["name"]), None)
        if before is not None:
            message = f"the tool {form['name']} stands in line {before} already"
            problems.append(_problem(modules[module]["path"], line, 1, message, "give one of the two another name"))
        if getattr(loaded, function.__name__, None) is not function:
            message = f"{function.__name__} means something else at the end of the file"
            problems.append(_problem(modules[module]["path"], line, 1, message, "give each function a name of its own"))
        tools.append(form)
    return {"tools": tools, "needs": needs, "problems": problems}


def call(
    module: str,
    modules: Mapping[str, ModuleText],
    function: str,
    arguments: Mapping[str, Any],
    options: Mapping[str, Any] | None,
) -> dict[str, str]:
    """`{"result": TEXT}`, `{"refused": TEXT}` where nothing was done, or `{"failed": TEXT}`."""
    entered = False
    try:
        chosen = getattr(_load(module, ProjectModules(modules)), function)

        @functools.wraps(chosen)
        def enter(*positional: Any, **named: Any) -> Any:
            nonlocal entered
            entered = True
            return chosen(*positional, **named)

        checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(enter)
        result = checked(**arguments, **({} if options is None else {OPTIONS: dict(options)}))
        if inspect.iscoroutine(result):
            result = asyncio.run(_finish(result))
        return {"result": _text(result)}
    except RefusedError as error:
        return {"refused": str(error)[:_MESSAGE_CHARS] or "refused"}
    except Exception as error:  # noqa: BLE001  # whatever project code raises is its answer
        if not entered and isinstance(error, ValidationError):
            return {"refused": _wrong_arguments(error)}
        traceback.print_exc()
        return {"failed" if entered else "refused": _said(error)}


async def _finish(result: Any) -> Any:
    return await result


def _load(name: str, project: ProjectModules) -> ModuleType:
    if taken_elsewhere(name):
        raise UnusableError(
            f"a module {name!r} is part of Python or installed here, and would be imported instead",
            f"rename the file, such as {name}_tools.py",
        )
    # Behind what is installed: a file of the project never takes the place of a library.
    sys.meta_path.append(project)
    module = importlib.import_module(name)
    linecache.lazycache(module.__name__, vars(module))
    return module


def _text(result: Any) -> str:
    if result is None:
        return _DONE
    # A half of a surrogate pair is text in Python, and nowhere else.
    return result.encode("utf-8", "replace").decode() if isinstance(result, str) else to_json(result).decode()


def _wrong_arguments(error: ValidationError) -> str:
    shown = [
        f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(shown)[:_MESSAGE_CHARS]


def _place_of(error: BaseException, project: ProjectModules, path: str) -> tuple[str, int, int]:
    """The innermost line of the project's; where there is none the first of the file."""
    if isinstance(error, SyntaxError) and error.filename in project.paths:
        return str(error.filename), error.lineno or 1, max(1, error.offset or 1)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in project.paths]
    return (frames[-1].filename, frames[-1].lineno or 1, 1) if frames else (path, 1, 1)


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    # Before 3.11.4 Python had another name for this mistake.
    kind = "SyntaxError" if isinstance(error, ValueError) and "null bytes" in text else type(error).__name__
    return f"{kind}: {text}"[:_MESSAGE_CHARS]


def _with_problem(needs: list[str], path: str, line: int, column: int, message: str, hint: str) -> dict[str, Any]:
    return {"tools": [], "needs": needs, "problems": [_problem(path, line, column, message, hint)]}


def _problem(path: str, line: int, column: int, message: str, hint: str) -> dict[str, Any]:
    return {"path": path, "line": line, "column": column, "message": message, "hint": hint}
