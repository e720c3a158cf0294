"""`schedules`: when an agent runs by itself."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, ValidationInfo, field_validator

from callboard.config.cron_syntax import cron_problem
from callboard.config.record import Record, Whole
from callboard.config.refusal import refuse, suggestion

SLACK_TARGET = r"^([#@][\w.-]+|[CDGUW][A-Z0-9]{5,})$"
"""A channel's or person's name with # or @, or an id of Slack's. Its length is bounded beside it: a bounded repetition
of so large a class takes the validator's compiler a tenth of a second and megabytes, each time that it is named."""
SLACK_TARGET_CHARS = 81


class ScheduleSettings(Record):
    """One schedule: a cron expression in a time zone, or an interval counted from the epoch (DESIGN.md, R29).

    `spread_seconds` delays each firing by a share of that span, always the same for one schedule.
    """

    id: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    cron: str | None = None
    interval_seconds: Whole | None = Field(default=None, ge=1, le=366 * 86_400, validate_default=True)
    timezone: str = "UTC"
    input: str = ""
    misfire: Literal["run_once", "run_all", "skip"] = "run_once"
    overlap: Literal["skip", "queue", "allow"] = "skip"
    deliver_to: str | None = Field(default=None, pattern=SLACK_TARGET, max_length=SLACK_TARGET_CHARS)
    spread_seconds: Whole = Field(default=0, ge=0, le=86_400)

    @field_validator("cron")
    @classmethod
    def _cron(cls, cron: str | None) -> str | None:
        if cron is not None:
            problem = cron_problem(cron)
            if problem is not None:
                raise refuse(f"cron '{cron}' {problem}", "write it like '0 9 * * MON-FRI'")
        return cron

    @field_validator("interval_seconds")
    @classmethod
    def _one_kind_of_time(cls, seconds: int | None, info: ValidationInfo) -> int | None:
        if "cron" in info.data:
            if seconds is None and info.data["cron"] is None:
                raise refuse("a schedule needs cron or interval_seconds", "write one of them")
            if seconds is not None and info.data["cron"] is not None:
                raise refuse("a schedule takes cron or interval_seconds, not both", "make two schedules of it")
        return seconds

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            zones = {zone.lower(): zone for zone in sorted(available_timezones())}
            hint = suggestion(name, zones)
            close = hint.removeprefix("did you mean '").removesuffix("'?")
            raise refuse(
                f"no time zone '{name}'",
                f"did you mean '{zones[close]}'?" if close in zones else "write an IANA name such as Europe/Berlin",
            ) from None
        return name
