"""What runs inside the sandbox: the code of a model, once. Its text is given to the sandbox's own Python.

Order on stdin, JSON: `{"code": …, "inputs": {…}}`. What the code prints, on either stream, goes to stdout; the answer
goes to what was stderr: `{"value": …, "error": …}`. Standard library only, and nothing of Callboard: it is not there.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
import traceback
from typing import Any

_NAME = "code.py"
_MAX_CHARS = 100_000


def main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    answers = os.dup(2)
    os.dup2(1, 2)
    answer: dict[str, str | None] = {"value": None, "error": None}
    try:
        answer["value"] = shown_value(_run(order["code"], order["inputs"]))
    except SystemExit as ended:
        if ended.code not in (None, 0):
            answer["error"] = f"SystemExit: {ended.code}"
    except MemoryError:
        answer["error"] = "MemoryError: it needs more memory than it may use"
    except BaseException as error:  # noqa: BLE001  # whatever the code raises is its answer
        answer["error"] = _told(error)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with os.fdopen(answers, "wb") as stream:
        stream.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    os._exit(0)


def _run(code: str, inputs: dict[str, Any]) -> Any:
    """Executes everything, and gives the value of the last statement where that is an expression."""
    tree = ast.parse(code, _NAME)
    scope: dict[str, Any] = {"__name__": "__main__", **inputs}
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, _NAME, "exec"), scope)  # noqa: S102  # what the sandbox is for
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), _NAME, "eval"), scope)  # noqa: S307  # as above


def shown_value(value: object) -> str | None:
    """None for none: text as it is, what JSON can hold as JSON, everything else as Python shows it."""
    if value is None or isinstance(value, str):
        return value if value is None else value[:_MAX_CHARS]
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)[:_MAX_CHARS]
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:_MAX_CHARS]


def _told(error: BaseException) -> str:
    """The stack trace from the code's own first line on."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _NAME]
    lines = [f"  line {frame.lineno}, in {frame.name}" for frame in frames[-10:]]
    return "\n".join([*lines, *(line.rstrip() for line in traceback.format_exception_only(error))])


if __name__ == "__main__":
    main()
