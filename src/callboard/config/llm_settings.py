"""`llm_config`: which model an agent uses, and the rules of the scripted one."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

from pydantic import ConfigDict, Field, JsonValue, RootModel, ValidationInfo, field_validator, model_validator

from callboard.config.problems import shown
from callboard.config.record import Number, Record, Whole
from callboard.config.refusal import refuse
from callboard.config.secrets import REFERENCE

SCRIPTED_MODELS = ("echo", "script")
SCRIPT_PATH = r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*/)+[A-Za-z0-9][A-Za-z0-9._-]*\.ya?ml$"
_LONGEST_PATH = 200


class Provider(StrEnum):
    """Who answers; `scripted` is part of Callboard and needs no network."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    BEDROCK = "bedrock"
    OLLAMA = "ollama"
    SCRIPTED = "scripted"


class ScriptedError(StrEnum):
    """The failures a rule can play; `crash` is an exception nobody expects."""

    RATE_LIMIT = "rate_limit"
    SERVICE_UNAVAILABLE = "service_unavailable"
    AUTHENTICATION = "authentication"
    INVALID_REQUEST = "invalid_request"
    CRASH = "crash"


class ScriptQuestion(Record):
    """A question to a person; with options it is a choice."""

    question: str = Field(min_length=1)
    options: tuple[str, ...] = ()


class ScriptCall(Record):
    """A tool call."""

    tool: str = Field(min_length=1)
    args: dict[str, JsonValue] = Field(default_factory=dict)


class ScriptRule(Record):
    """One rule of the scripted model; the first whose `when` is found in the last message acts.

    In order: wait, fail, ask, call, say. `say` may use {input}, {turn}, {answer} and {result}.
    """

    when: str | None = None
    say: str | None = None
    ask: ScriptQuestion | None = None
    call: ScriptCall | None = None
    wait_seconds: Number = Field(default=0.0, ge=0, le=86_400)
    error: ScriptedError | None = None
    retry_after_seconds: Number | None = Field(default=None, ge=0)

    @field_validator("when")
    @classmethod
    def _regular_expression(cls, when: str | None) -> str | None:
        if when is not None:
            try:
                re.compile(when)
            except re.error as error:
                raise refuse(
                    f"'{when}' is no regular expression: {error}", "put a \\ before each sign that is meant literally"
                ) from None
        return when

    @field_validator("retry_after_seconds")
    @classmethod
    def _only_with_rate_limit(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and info.data.get("error", ScriptedError.RATE_LIMIT) != ScriptedError.RATE_LIMIT:
            raise refuse("retry_after_seconds belongs to error: rate_limit", "remove it")
        return seconds

    @model_validator(mode="after")
    def _acts(self) -> Self:
        if self.say is None and not (self.ask or self.call or self.error or self.wait_seconds):
            raise refuse("this rule does nothing", "give it say, ask, call, wait_seconds or error")
        return self


class ScriptRules(RootModel[tuple[ScriptRule, ...]]):
    """All that stands in a script file: what `script` would hold in the agent file."""

    model_config = ConfigDict(frozen=True)

    @field_validator("root")
    @classmethod
    def _some(cls, rules: tuple[ScriptRule, ...]) -> tuple[ScriptRule, ...]:
        if not rules:
            raise refuse("this script has no rules", 'write a list, such as - {say: "…"}')
        return rules


def script_path_problem(path: str) -> tuple[str, str] | None:
    """Why a `script_file` cannot be such: (message, way out). Below the folder, since what lies in it is an agent."""
    if len(path) <= _LONGEST_PATH and re.fullmatch(SCRIPT_PATH.removesuffix("$"), path):
        return None
    if re.fullmatch(r"[A-Za-z0-9._-]*\.ya?ml", path):
        return (
            f"'{shown(path)}' would stand among the agent files",
            "put it into a subfolder: scripts/weather.yaml",
        )
    return (
        f"'{shown(path)}' is no path of a script file",
        "a path below this file's folder of letters, digits, . _ - and the ending .yaml: scripts/weather.yaml",
    )


class ModelSettings(Record):
    """One model at one provider. Rules may stay where the provider has no use for them: one agent file serves to try an
    agent by rules and to run it with a real model."""

    provider: Provider
    model_id: str = Field(min_length=1, max_length=200)
    temperature: Number | None = Field(default=None, ge=0, le=2)
    max_tokens: Whole = Field(default=1024, ge=1, le=1_000_000)
    base_url: str | None = None
    timeout_seconds: Number = Field(default=120.0, gt=0, le=3600)
    context_window: Whole | None = Field(
        default=None, ge=500, description="How many tokens the model can read at once, where it is not known by name."
    )
    script_file: str | None = Field(
        default=None,
        description="A file of rules instead of script, below the folder of the agent file: scripts/weather.yaml.",
        json_schema_extra={"pattern": SCRIPT_PATH, "maxLength": _LONGEST_PATH},
    )
    script: tuple[ScriptRule, ...] = Field(default=(), validate_default=True)

    @field_validator("model_id")
    @classmethod
    def _scripted_model(cls, model_id: str, info: ValidationInfo) -> str:
        if info.data.get("provider") == Provider.SCRIPTED and model_id not in SCRIPTED_MODELS:
            raise refuse(f"the scripted provider has no model '{model_id}'", "write echo or script")
        return model_id

    @field_validator("base_url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        if url is not None and not (url.startswith(("http://", "https://")) or REFERENCE.match(url)):
            raise refuse(f"'{url}' is no URL of a server", "write http://… or https://… or ${env:NAME}")
        return url

    @field_validator("script_file")
    @classmethod
    def _path_of_rules(cls, path: str | None, info: ValidationInfo) -> str | None:
        problem = script_path_problem(path) if path is not None else None
        if problem is not None:
            raise refuse(*problem)
        if path is not None and info.data.get("model_id") == "echo" and _scripted(info):
            raise refuse("model_id: echo has no rules", "write model_id: script, or remove script_file")
        return path

    @field_validator("script")
    @classmethod
    def _rules_where_they_act(cls, script: tuple[ScriptRule, ...], info: ValidationInfo) -> tuple[ScriptRule, ...]:
        model_id = info.data.get("model_id")
        if model_id is None or "script_file" not in info.data:
            return script
        elsewhere = info.data["script_file"] is not None
        if script and model_id == "echo" and _scripted(info):
            raise refuse("model_id: echo has no rules", "write model_id: script, or remove script")
        if script and elsewhere:
            raise refuse("rules stand here and in script_file", "remove script or script_file")
        if model_id == "script" and _scripted(info) and not script and not elsewhere:
            raise refuse("model_id: script has no rules", 'add script: [{say: "…"}], or script_file')
        return script


class LLMSettings(ModelSettings):
    """The model an agent uses, and which ones to try in this order when it cannot be had."""

    fallback: tuple[ModelSettings, ...] = ()

    @field_validator("fallback")
    @classmethod
    def _one_script_file(cls, fallback: tuple[ModelSettings, ...]) -> tuple[ModelSettings, ...]:
        if any(model.script_file is not None for model in fallback):
            raise refuse("a fallback has no script_file of its own", "write its rules under script")
        return fallback

    def with_rules(self, rules: tuple[ScriptRule, ...]) -> LLMSettings:
        """The same with what stands in the script file, which is then not needed any more."""
        return self.model_copy(update={"script": rules, "script_file": None})


def _scripted(info: ValidationInfo) -> bool:
    return info.data.get("provider") == Provider.SCRIPTED
