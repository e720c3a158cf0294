"""The rules of the scripted model as plain records; `config` maps an agent file's `script` key to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import JsonValue

AskKind: TypeAlias = Literal["input", "choice", "confirmation", "action"]
ScriptError: TypeAlias = Literal["rate_limit", "service_unavailable", "authentication", "invalid_request", "crash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptAsk:
    """A question to a person. Without a `kind` it is a choice when there are options, free input otherwise."""

    question: str
    kind: AskKind | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCall:
    """A call of one of the agent's tools; placeholders are filled in every text inside `args`."""

    tool: str
    args: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRule:
    """One rule; of an agent's rules the first whose `when` is found in the last user message acts.

    It waits, then fails (`error`) or acts in this order: ask, call, say. `when` is a regular expression in Python's
    syntax, None always fits. `{input}`, `{turn}`, `{answer}` (to the question) and `{result}` (of the call) are
    replaced in `say`, `question` and `args`. Without `say` a rule says the result, the answer or the input.
    """

    when: str | None = None
    say: str | None = None
    ask: ScriptAsk | None = None
    call: ScriptCall | None = None
    wait_seconds: float = 0.0
    error: ScriptError | None = None
    retry_after_seconds: float | None = None
