"""The answers of INTERFACE.md, section 3, as the OpenAPI document shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from callboard.state.runs import RunStatus


class ErrorDetail(BaseModel):
    """What went wrong, for programs (`code`) and for people."""

    code: str
    message: str
    trace_id: str | None
    field: str | None = None


class ErrorDocument(BaseModel):
    """Every answer that is not a success."""

    error: ErrorDetail


class UsageDocument(BaseModel):
    """Tokens."""

    input_tokens: int
    output_tokens: int


class AcceptedDocument(BaseModel):
    """The task is durable."""

    task_id: str
    trace_id: str
    status: Literal["queued"]


class WaitingDocument(BaseModel):
    """What a run waits on."""

    kind: Literal["clarification", "approval", "budget", "provider", "steps"]
    id: str | None
    since: datetime


class StatusDocument(BaseModel):
    """How far a task is."""

    task_id: str
    trace_id: str
    agent: str
    agent_version: int | None
    status: RunStatus
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    waiting_for: WaitingDocument | None = None
    cost_usd: float
    cost_estimated: bool
    usage: UsageDocument


class RunErrorDocument(BaseModel):
    """Why a run did not succeed."""

    code: str
    message: str


class ResultDocument(BaseModel):
    """What came of a task."""

    task_id: str
    status: RunStatus
    output: Any
    error: RunErrorDocument | None
    cost_usd: float
    usage: UsageDocument
    dry: bool = False
    would_do: list[dict[str, Any]] = []
    would_ask: list[dict[str, Any]] = []


def answers(status: int = 200, document: type[BaseModel] | None = None, *errors: int) -> dict[str, Any]:
    """The keyword arguments of a route: its success, and the errors that it names beside those that all have."""
    known = {400, 401, 403, 404, 405, 408, 409, 413, 422, 500, 503}
    wanted = sorted({400, 401, 403, 413, 422, 500, 503, *errors} & known)
    responses: dict[int | str, dict[str, Any]] = {code: {"model": ErrorDocument} for code in wanted}
    if document is not None:
        responses[status] = {"model": document, "description": (document.__doc__ or "").strip().partition("\n")[0]}
    return {"status_code": status, "responses": responses}
