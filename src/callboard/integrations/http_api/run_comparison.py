"""Two runs side by side: what they came to, which calls they made, what they cost; pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from callboard.state.replays import Variant
from callboard.state.runs import RunResult

_TASK = "task-"
_SHOWN_CHARS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call; `result` is None where the run ended before it had one."""

    tool: str
    arguments: Any
    result: str | None = None

    @property
    def identity(self) -> str:
        return f"{self.tool} {_canonical(self.arguments)}"

    def to_record(self) -> dict[str, Any]:
        return {"arguments": self.arguments, "result": self.result and self.result[:_SHOWN_CHARS]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One run of a family; `path` are the steps that lead to it, "" for the first."""

    path: str
    result: RunResult
    calls: Sequence[Call]
    error: Mapping[str, str] | None = None


def calls_of(entries: Sequence[Any]) -> list[Call]:
    """From a run's checkpoint: each call of the model's with the result that it was told."""
    made: list[Call] = []
    open_calls: list[int] = []
    for entry in entries:
        if entry.get("role") == "assistant":
            calls = entry.get("tool_calls", ())
            open_calls = list(range(len(made), len(made) + len(calls)))
            made += [Call(tool=call["name"], arguments=call.get("arguments", {})) for call in calls]
        elif entry.get("role") == "tool" and open_calls:
            place = open_calls.pop(0)
            made[place] = Call(tool=made[place].tool, arguments=made[place].arguments, result=entry.get("content"))
    return made


def comparison(origin: Sequence[Part], replay: Sequence[Part], variant: Variant | None) -> dict[str, Any]:
    """`equal` where both came to the same end: status and output, or the same error."""
    before = {part.path: part for part in origin}
    after = {part.path: part for part in replay}
    paths = [*after, *(path for path in before if path not in after and _is_missed(path, variant))]
    whole, again = before[""], after[""]
    output = _output(whole, again)
    same_error = (whole.error or {}).get("code") == (again.error or {}).get("code")
    calls = [call for path in paths for call in _calls(path, before.get(path), after.get(path))]
    return {
        "variant": {} if variant is None else variant.to_record(),
        "equal": whole.result.run.status is again.result.run.status and output["equal"] and same_error,
        "same_calls": all(call["change"] == "same" for call in calls),
        "status": {"origin": whole.result.run.status.value, "replay": again.result.run.status.value},
        "error": {"origin": whole.error, "replay": again.error},
        "output": output,
        "steps": [_step(path, before.get(path), after.get(path)) for path in paths if path],
        "calls": calls,
        "usage": {"origin": _usage(before, paths), "replay": _usage(after, paths)},
        "cost_usd": {"origin": _cost(before, paths), "replay": _cost(after, paths)},
    }


def output_diff(before: Any, after: Any) -> str:
    """A unified difference; of what is JSON with a line for each value, in the order of the keys. Empty where they are
    the same."""
    lines, others = _lines(before), _lines(after)
    return "\n".join(difflib.unified_diff(lines, others, "origin", "replay", lineterm=""))


def _is_missed(path: str, variant: Variant | None) -> bool:
    """A run that the replay could have had and has not: ends of handed tasks and steps before the first are taken over
    without a run."""
    handed = any(step.startswith(_TASK) for step in path.split("/"))
    return not handed and (variant is None or variant.from_step is None)


def _output(origin: Part, replay: Part) -> dict[str, Any]:
    before, after = _value(origin.result.output), _value(replay.result.output)
    equal = bool(before == after) and type(before) is type(after)
    return {"equal": equal, "diff": "" if equal else output_diff(before, after)}


def _step(path: str, origin: Part | None, replay: Part | None) -> dict[str, Any]:
    if origin is None or replay is None:
        known = origin or replay
        assert known is not None  # noqa: S101  # a path comes from one of them
        run = known.result.run
        change = "added" if origin is None else "missing"
        return {"step": path, "agent": run.agent, "change": change, "status": run.status.value}
    output = _output(origin, replay)
    same = output["equal"] and origin.result.run.status is replay.result.run.status
    status = {"origin": origin.result.run.status.value, "replay": replay.result.run.status.value}
    change = "same" if same else "changed"
    return {
        "step": path,
        "agent": replay.result.run.agent,
        "change": change,
        "status": status["replay"],
        "diff": output["diff"],
    }


def _calls(path: str, origin: Part | None, replay: Part | None) -> list[dict[str, Any]]:
    before = [] if origin is None else list(origin.calls)
    after = [] if replay is None else list(replay.calls)
    matcher = difflib.SequenceMatcher(
        a=[call.identity for call in before], b=[call.identity for call in after], autojunk=False
    )
    found: list[dict[str, Any]] = []
    for _, first, last, begin, end in matcher.get_opcodes():
        old, new = before[first:last], after[begin:end]
        for index in range(max(len(old), len(new))):
            a = old[index] if index < len(old) else None
            b = new[index] if index < len(new) else None
            if a is not None and b is not None and a.tool != b.tool:
                found += [_call(path, a, None), _call(path, None, b)]
            else:
                found.append(_call(path, a, b))
    return found


def _call(path: str, origin: Call | None, replay: Call | None) -> dict[str, Any]:
    known = replay or origin
    assert known is not None  # noqa: S101  # one of them is there
    if origin is None or replay is None:
        change = "added" if origin is None else "missing"
    else:
        change = "same" if origin.identity == replay.identity else "changed"
    return {
        "step": path,
        "tool": known.tool,
        "change": change,
        "same_result": origin is not None and replay is not None and origin.result == replay.result,
        "origin": None if origin is None else origin.to_record(),
        "replay": None if replay is None else replay.to_record(),
    }


def _usage(parts: Mapping[str, Part], paths: Sequence[str]) -> dict[str, int]:
    runs = [parts[path].result.run for path in paths if path in parts]
    return {
        "input_tokens": sum(run.usage.input_tokens for run in runs),
        "output_tokens": sum(run.usage.output_tokens for run in runs),
    }


def _cost(parts: Mapping[str, Part], paths: Sequence[str]) -> float:
    return sum(parts[path].result.run.cost_usd for path in paths if path in parts)


def _value(output: Any) -> Any:
    """A text that is a JSON object or list is taken for that: the order of its keys says nothing."""
    if isinstance(output, str) and output.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(output)
        except orjson.JSONDecodeError:
            return output
    return output


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return value.splitlines()
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode().splitlines()


def _canonical(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
