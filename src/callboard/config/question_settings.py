"""`questions`: who may answer what an agent asks, until when, and what happens if nobody does."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from callboard.config.record import Flag, Number, Record
from callboard.config.refusal import refuse
from callboard.config.schedule_settings import SLACK_TARGET, SLACK_TARGET_CHARS

Person = Annotated[str, Field(min_length=1, max_length=200)]


class OnDeadline(StrEnum):
    """What a question that nobody answered in time comes to.

    `deny`: the model is told that it expired. `wait`: it stays open. `escalate`: it is asked once more in
    `escalate_to`, with as much time again. `default`: `default_answer` is taken.
    """

    DENY = "deny"
    WAIT = "wait"
    ESCALATE = "escalate"
    DEFAULT = "default"


class QuestionSettings(Record):
    """Holds for all that the agent asks; a tool may have its own for its approvals.

    `may_answer` names people by what they are known as where they answer (a Slack user id, a name of the API), and
    Slack user groups by their id (S…); empty means everybody who can see the question.
    """

    may_answer: tuple[Person, ...] = ()
    not_requester: Flag = False
    deadline_seconds: Number | None = Field(default=None, gt=0, le=31_536_000)
    on_deadline: OnDeadline = OnDeadline.DENY
    default_answer: JsonValue = Field(default=None, validate_default=True)
    escalate_to: str | None = Field(
        default=None, pattern=SLACK_TARGET, max_length=SLACK_TARGET_CHARS, validate_default=True
    )
    remind_seconds: Number | None = Field(default=None, ge=60, le=31_536_000)

    @field_validator("default_answer")
    @classmethod
    def _with_its_policy(cls, answer: JsonValue, info: ValidationInfo) -> JsonValue:
        if answer is None and info.data.get("on_deadline") is OnDeadline.DEFAULT:
            raise refuse("on_deadline: default has no default_answer", "add default_answer")
        return answer

    @field_validator("escalate_to")
    @classmethod
    def _somewhere(cls, target: str | None, info: ValidationInfo) -> str | None:
        if target is None and info.data.get("on_deadline") is OnDeadline.ESCALATE:
            raise refuse("on_deadline: escalate does not say where to", 'add escalate_to: "#channel"')
        return target
