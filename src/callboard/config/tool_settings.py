"""`tools`: what an agent may do besides talking, and under which conditions."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator

from callboard.config.question_settings import QuestionSettings
from callboard.config.record import Flag, Number, Record, Whole
from callboard.config.refusal import refuse


class Approval(StrEnum):
    """Whether a call is carried out, asked about first, or refused, whatever the model says."""

    AUTO = "auto"
    ASK = "ask"
    DENY = "deny"


class ToolRule(Record):
    """A policy for calls with certain arguments: each pattern of `when` must be found in the argument of that name.

    A name may lead into objects by dots (`body.amount`); what is no text is compared as JSON. A missing argument is
    the empty text.
    """

    when: dict[str, str] = Field(min_length=1)
    approval: Approval

    @field_validator("when")
    @classmethod
    def _regular_expressions(cls, when: dict[str, str]) -> dict[str, str]:
        for pattern in when.values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise refuse(
                    f"'{pattern}' is no regular expression: {error}",
                    "put a \\ before each sign that is meant literally",
                ) from None
        return when


class McpServer(Record):
    """A server of the Model Context Protocol whose tools the agent may use: one with a URL, or a command to start.

    `name` is what its tools are called after (`name__tool`); without it the host or the command is. `trust_hints`
    believes what the server says of its tools: which only read, and which may be repeated.
    """

    url: str | None = Field(default=None, pattern=r"^(https?://|\$\{env:)")
    headers: dict[str, str] = Field(default_factory=dict)
    command: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    name: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")
    timeout_seconds: Number = Field(default=30.0, gt=0, le=600)
    trust_hints: Flag = Field(default=False, validate_default=True)

    @field_validator("trust_hints")
    @classmethod
    def _url_or_command(cls, trusted: bool, info: ValidationInfo) -> bool:  # pydantic's own signature
        if "url" in info.data and "command" in info.data and (info.data["url"] is None) == (not info.data["command"]):
            raise refuse("an mcp server has either a url or a command", "write url: https://… or command: [NAME, ARG]")
        return trusted


class ToolSettings(Record):
    """A tool by its name with its settings, or the tools of an MCP server.

    In the file a bare name is enough. Values under `with`, in headers and in the env of a command may hold
    `${env:NAME}`. The first of the `rules` that fits a call decides, else `approval`; once the run has read what
    strangers wrote, a tool that carries data out takes `after_untrusted`, unless a rule or `approval` is stricter.
    """

    name: str | None = Field(default=None, min_length=1, max_length=100)
    with_: dict[str, JsonValue] = Field(default_factory=dict, alias="with")
    mcp: McpServer | None = Field(default=None, validate_default=True)
    allow: tuple[str, ...] = ()
    approval: Approval = Approval.AUTO
    rules: tuple[ToolRule, ...] = ()
    after_untrusted: Approval = Approval.ASK
    questions: QuestionSettings | None = None
    idempotent: Flag | None = None
    timeout_seconds: Number | None = Field(default=None, gt=0, le=3600)
    max_result_bytes: Whole | None = Field(default=None, ge=100, le=1024 * 1024)

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("mcp")
    @classmethod
    def _name_or_server(cls, mcp: McpServer | None, info: ValidationInfo) -> McpServer | None:
        if "name" in info.data and (info.data["name"] is None) == (mcp is None):
            raise refuse(
                "a tool is either a name or an mcp server", "write a name, {name: …, with: …} or {mcp: {url: …}}"
            )
        return mcp

    @field_validator("approval", mode="before")
    @classmethod
    def _never_asks(cls, approval: Any) -> Any:
        # What `auto` was called before there was a `deny`; stored versions of agents may say so.
        return Approval.AUTO if approval == "never" else approval
