"""Request bodies: strict JSON, and never deep enough to exhaust a stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

MAX_DEPTH = 64
"""Levels of lists and objects; deeper values could be stored but not walked by everybody who reads them."""


class StrictJsonRoute(APIRoute):
    """Refuses what Python's own parser lets through: NaN and infinities, NUL characters, a thousand levels."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse(await self.body())


def parse(body: bytes) -> Any:
    """The value; a JSONDecodeError says why it is none that is accepted."""
    value = orjson.loads(body)
    reason = _refused(value)
    if reason is not None:
        raise json.JSONDecodeError(reason, "", 0)
    return value


def _refused(value: Any) -> str | None:
    """Walks level by level, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return None
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if "\x00" in item:
                    return "a text holds the character NUL"
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level = below
    return f"nested deeper than {MAX_DEPTH} levels"
