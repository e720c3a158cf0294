"""An answer in words, the same wherever somebody reads it; pure."""

from __future__ import annotations

from typing import Any

import orjson

_EDITED = {"arguments": "with other arguments", "plan": "with another plan"}


def told_answer(answer: Any) -> str:
    """`yes`, `approved`, `approved with other arguments: {…}`, `rejected: why`, `done`; a text as it is, else JSON."""
    match answer:
        case None:
            return ""
        case bool():
            return "yes" if answer else "no"
        case str():
            return answer
        case {"approved": True, **more}:
            changed = [f" {words}: {_json(more[key])}" for key, words in _EDITED.items() if more.get(key) is not None]
            return "approved" + "".join(changed)
        case {"approved": False, **more}:
            return "rejected" + (f": {more['reason']}" if more.get("reason") else "")
        case {"done": bool(done)}:
            return "done" if done else "not done"
    return _json(answer)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
