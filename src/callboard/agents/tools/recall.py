"""`recall`: what was remembered in earlier runs, by its key or by the words in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from callboard.agents.tools.memory_options import MemoryOptions
from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.tool import Tool, ToolContext, ToolTraits
from callboard.agents.tools.tool_options import read_options
from callboard.state.memories import MAX_KEY_CHARS, Memory
from callboard.state.memory_store import MemoryStore

RECALL = "recall"
MOST_SHOWN = 20
_MOST_CHARS = 16 * 1024
_WORD = re.compile(r"\w+")
_IN_KEY, _IN_VALUE, _PART = 3.0, 2.0, 0.5
_SHORTEST_PART = 3


def recall_factory(memory: MemoryStore) -> dict[str, ToolFactory]:
    """By tool name, for the registry."""

    def make(options: ToolOptions) -> Tool:
        return Recall(memory, read_options(RECALL, MemoryOptions, options))

    return {RECALL: make}


class Recall:
    """Entries as JSON, one a line, each with who had it remembered and when.

    A result with an entry that strangers may have written is untrusted, and so is the run that reads it.
    """

    name = RECALL
    description = (
        "Look up what was remembered in earlier runs: by its key, or by words that are in it. Without either the "
        "newest is shown."
    )
    parameters: Mapping[str, JsonValue] = {
        "type": "object",
        "properties": {
            "key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS},
            "query": {"type": "string", "minLength": 1, "maxLength": 500},
        },
        "additionalProperties": False,
    }
    idempotent = True
    timeout_seconds = 15.0
    traits = ToolTraits()

    def __init__(self, memory: MemoryStore, options: MemoryOptions) -> None:
        self._memory = memory
        self._options = options

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        key, query = arguments.get("key"), arguments.get("query")
        scope = self._options.scope_of(context)
        named = key if isinstance(key, str) else None
        kept = await self._memory.entries(context.agent, scope, named, tenant=context.tenant)
        found = ranked(kept, query) if isinstance(query, str) and named is None else kept
        if not found:
            return _nothing(named, query)
        shown, lines = _shown(found)
        if any(entry.source.untrusted for entry in shown):
            context.mark_untrusted()
        more = len(found) - len(shown)
        return "\n".join([*lines, *([f"({more} more: ask with other words)"] if more else [])])


def ranked(entries: Sequence[Memory], query: str) -> list[Memory]:
    """Those that hold a word of the query, the best first; of equally good ones the order stays."""
    words = set(_WORD.findall(query.casefold()))
    scored = [(_score(entry, words), entry) for entry in entries]
    hits = [(score, entry) for score, entry in scored if score]
    return [entry for _, entry in sorted(hits, key=lambda hit: -hit[0])]


def _score(entry: Memory, words: set[str]) -> float:
    key, value = entry.key.casefold(), _text(entry.value).casefold()
    in_key, in_value = set(_WORD.findall(key.replace("_", " "))), set(_WORD.findall(value))
    score = 0.0
    for word in words:
        part = len(word) >= _SHORTEST_PART and (word in key or word in value)
        score += _IN_KEY * (word in in_key) + _IN_VALUE * (word in in_value) + _PART * part
    return score


def _shown(found: Sequence[Memory]) -> tuple[list[Memory], list[str]]:
    """As many as there is room for, and at least one."""
    shown: list[Memory] = []
    lines: list[str] = []
    chars = 0
    for entry in found[:MOST_SHOWN]:
        line = _line(entry)
        chars += len(line)
        if shown and chars > _MOST_CHARS:
            break
        shown.append(entry)
        lines.append(line)
    return shown, lines


def _line(entry: Memory) -> str:
    record = {"key": entry.key, "value": entry.value, "by": entry.source.actor, "at": entry.source.at.isoformat()[:16]}
    if entry.source.untrusted:
        record["untrusted"] = True
    return json.dumps(record, ensure_ascii=False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _nothing(key: str | None, query: JsonValue) -> str:
    if key is not None:
        return f"Nothing is remembered under {key!r}."
    return "Nothing is remembered yet." if query is None else "Nothing that is remembered fits these words."
