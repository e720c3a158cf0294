"""A server's listing as tools that can be offered: what is left out and why, and the digests of the rest; pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from callboard.agents.tools.mcp.tool_names import doubled, model_name
from callboard.agents.tools.mcp.tool_schema import UnusableToolError, parameters_of

MAX_DESCRIPTION_CHARS = 2000
MAX_TOOL_NAME_CHARS = 128
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
"""What people who approve a text would not see in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTool:
    """`name` is the server's, `model_name` the one that models see. `digest` covers all that the server says of it."""

    name: str
    model_name: str
    description: str
    parameters: Mapping[str, JsonValue]
    read_only: bool
    idempotent: bool
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`left_out` has a sentence for each tool that cannot be used."""

    tools: tuple[RemoteTool, ...]
    left_out: tuple[str, ...]


def offer_of(label: str, entries: Sequence[JsonValue], allow: tuple[str, ...]) -> Offer:
    """The allowed tools of a listing (all, where `allow` is empty)."""
    tools: list[RemoteTool] = []
    left_out: list[str] = []
    named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
    if len(named) < len(entries):
        left_out.append(f"{len(entries) - len(named)} entries of its list have no name")
    twice = doubled([str(entry["name"]) for entry in named])
    for entry in named:
        name = str(entry["name"])
        if allow and name not in allow:
            continue
        try:
            _check_name(name, twice)
            tools.append(_tool(label, name, entry))
        except UnusableToolError as error:
            left_out.append(f"tool {name[:80]!r} is left out: {error}")
    clashing = doubled([tool.model_name for tool in tools])
    left_out += [f"tool {tool.name!r} is left out: its name clashes" for tool in tools if tool.model_name in clashing]
    left_out += [f"tool {name!r} is allowed but not offered" for name in allow if name not in {_name(e) for e in named}]
    return Offer(
        tools=tuple(tool for tool in tools if tool.model_name not in clashing),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _check_name(name: str, twice: frozenset[str]) -> None:
    if name in twice:
        raise UnusableToolError("it is listed more than once")
    if not 0 < len(name) <= MAX_TOOL_NAME_CHARS:
        raise UnusableToolError(f"its name has {len(name)} characters; the limit is {MAX_TOOL_NAME_CHARS}")
    if not name.isprintable():
        raise UnusableToolError("its name has characters that cannot be seen")


def _tool(label: str, name: str, entry: Mapping[str, JsonValue]) -> RemoteTool:
    description = entry.get("description")
    text = description if isinstance(description, str) else ""
    schema = entry.get("inputSchema")
    hints = entry.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    read_only = hints.get("readOnlyHint") is True
    idempotent = read_only or hints.get("idempotentHint") is True
    return RemoteTool(
        name=name,
        model_name=model_name(label, name),
        description=_visible(text),
        parameters=parameters_of(schema),
        read_only=read_only,
        idempotent=idempotent,
        digest=_digest([name, text, schema, read_only, idempotent]),
    )


def _visible(text: str) -> str:
    shown = _CONTROL.sub("", text).encode("utf-8", "replace").decode().strip()
    return shown if len(shown) <= MAX_DESCRIPTION_CHARS else shown[: MAX_DESCRIPTION_CHARS - 1] + "…"


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _name(entry: Mapping[str, JsonValue]) -> str:
    return str(entry["name"])
