"""What a run thought, did and saw, step by step, from the lines that its checkpoints carried; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from callboard.integrations.http_api.trace_node import Node
from callboard.state.story import EffectRecord, ProgressLine

OUTCOME_UNKNOWN = "the outcome is unknown: it may have happened"
"""Of a call that was begun and never ended, and that nobody is at any more."""
_MODEL_DETAILS = ("turn", "input_tokens", "output_tokens", "cost_usd", "thought", "purpose")


def reasoning_nodes(run_id: str, lines: Sequence[ProgressLine], effects: Sequence[EffectRecord]) -> list[Node]:
    """The model's calls and the tools', in their order; a tool's with what was wanted, decided and seen."""
    ledger = {effect.key: effect for effect in effects}
    nodes: list[Node] = []
    calls: dict[str, Node] = {}
    failed: list[Node] = []
    for line in lines:
        key = str(line.data.get("key"))
        match line.kind:
            case "model_failed":
                failed.append(_failed_node(run_id, line))
                nodes.append(failed[-1])
            case "model_call":
                nodes.append(_model_node(run_id, line))
                _put_before(nodes[-1], failed)
                failed.clear()
            case "tool_call":
                calls[key] = _call_node(run_id, key, line)
                nodes.append(calls[key])
            case "policy" if key in calls:
                calls[key].details["policy"] = {"decision": line.data.get("decision"), "why": line.data.get("why")}
            case "approval" if key in calls:
                calls[key].details["approval"] = {
                    name: line.data[name] for name in ("answer", "by", "reason", "edited") if name in line.data
                }
            case "would_do" | "recorded" | "not_recorded" if key in calls:
                calls[key].details["rehearsal"] = line.kind
            case "tool_result" if key in calls:
                _close(calls.pop(key), line, ledger.get(key))
            case _:
                pass
    for key, node in calls.items():
        known = ledger.get(key)
        node.status = "wanted" if known is None else known.status
        if node.status == "unknown":
            node.details["observation"] = OUTCOME_UNKNOWN
    return nodes


def _model_node(run_id: str, line: ProgressLine) -> Node:
    data = line.data
    return Node(
        kind="model",
        id=f"{run_id}/model/{line.n}",
        name=str(data.get("model") or "call"),
        status="done",
        started_at=line.created_at - _took(line),
        finished_at=line.created_at,
        details={name: data[name] for name in _MODEL_DETAILS if name in data},
    )


def _failed_node(run_id: str, line: ProgressLine) -> Node:
    """A model that another one stood in for."""
    data = line.data
    return Node(
        kind="model",
        id=f"{run_id}/model/{line.n}",
        name=str(data.get("model") or "call"),
        status="failed",
        started_at=line.created_at - _took(line),
        finished_at=line.created_at,
        details={"turn": data.get("turn"), "error": {"code": data.get("code"), "message": data.get("reason")}},
    )


def _put_before(answered: Node, failed: Sequence[Node]) -> None:
    """Lines of models that failed are written with the answer of the one that did not: they were asked before it."""
    end = answered.started_at
    for node in reversed(failed):
        took = (node.finished_at or node.started_at) - node.started_at
        node.started_at, node.finished_at = end - took, end
        end = node.started_at


def _took(line: ProgressLine) -> timedelta:
    return timedelta(milliseconds=float(line.data.get("duration_ms") or 0.0))


def _call_node(run_id: str, key: str, line: ProgressLine) -> Node:
    return Node(
        kind="tool",
        id=f"{run_id}/{key}",
        name=str(line.data.get("tool")),
        status=None,
        started_at=line.created_at,
        finished_at=None,
        details={"arguments": line.data.get("arguments")},
    )


def _close(node: Node, line: ProgressLine, effect: EffectRecord | None) -> None:
    """A call that never reached its tool is told from one that failed there."""
    data: dict[str, Any] = dict(line.data)
    if effect is not None:
        node.status = effect.status
    elif node.details.get("rehearsal") == "would_do":
        node.status = "would_do"
    else:
        node.status = "done" if data.get("ok") else "refused"
    took = data.get("duration_ms")
    if took is not None:
        node.started_at = line.created_at - timedelta(milliseconds=float(took))
    node.finished_at = line.created_at
    node.details["observation"] = data.get("result")
