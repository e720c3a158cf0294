"""`chart`: a line, bar or scatter chart as an image, with its data beside it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolTraits
from callboard.errors import InvalidInputError

MAX_POINTS = 10_000
MAX_SERIES = 20
MAX_BARS = 200
_DRAW = "callboard.agents.tools.chart_child:draw"
_SECONDS = 30.0

Point: TypeAlias = float | int | None


class ChartSeries(BaseModel):
    """One value for each x; null leaves a gap."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    values: list[float | int | None]


class ChartRequest(BaseModel):
    """What is to be drawn. The x are numbers, or texts: dates (ISO 8601) or categories."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["line", "bar", "scatter"]
    title: str = ""
    x: list[float | int | str]
    series: list[ChartSeries]
    x_label: str = ""
    y_label: str = ""


class ChartTools:
    """Makes the tool for any agent."""

    def __init__(self, runner: ChildRunner) -> None:
        self._runner = runner

    def factories(self) -> dict[str, ToolFactory]:
        """By tool name, for the registry."""
        return {"chart": self._make}

    def _make(self, options: ToolOptions) -> Tool:
        if options:
            raise InvalidInputError(f"chart has no options: remove with.{next(iter(options))}", field="with")
        return Chart(self._runner)


class Chart:
    """Draws in a child process, so that nobody else loads the drawing library. The same request is the same image."""

    name = "chart"
    idempotent = True
    timeout_seconds = _SECONDS + 5.0
    traits = ToolTraits(only_reads=False)
    description = (
        "Draw a line, bar or scatter chart and keep it with this task as a PNG image, with its data as JSON. Every "
        "series has one value for each x, null where there is none. The x are numbers, dates as 2026-01-31, or names. "
        "The answer has the references of both (artifact:ID): name them where you tell of the chart."
    )

    def __init__(self, runner: ChildRunner) -> None:
        self._runner = runner
        self.parameters: Mapping[str, JsonValue] = _PARAMETERS

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        request = chart_request(arguments)
        drawn = request.model_dump() | {"dates": are_dates(request.x)}
        try:
            image = base64.b64decode(await self._runner.run(_DRAW, {"request": drawn}, cpu_seconds=int(_SECONDS)))
        except ToolError as error:
            raise ToolError(f"the chart could not be drawn: {error.message[:300]}") from None
        name = request.title.strip() or f"{request.kind} chart"
        data = json.dumps(request.model_dump(exclude_defaults=True), ensure_ascii=False, indent=1).encode()
        picture = await context.artifacts.keep(f"{name}.png", "image/png", image)
        numbers = await context.artifacts.keep(f"{name}.json", "application/json", data)
        return f"image: {picture}\ndata: {numbers}\n{summary(request)}"


def chart_request(arguments: Mapping[str, JsonValue]) -> ChartRequest:
    """Raises ToolError with every first problem of a kind that can be corrected."""
    try:
        request = ChartRequest.model_validate(dict(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ToolError(f"{'.'.join(str(part) for part in first['loc'][:3])}: {first['msg']}") from None
    problem = _problem(request)
    if problem is not None:
        raise ToolError(problem)
    return request


def _problem(request: ChartRequest) -> str | None:
    points = len(request.x)
    if not points or not request.series:
        return "a chart needs at least one x and one series"
    if len(request.series) > MAX_SERIES:
        return f"there are {len(request.series)} series; the limit is {MAX_SERIES}"
    if points * len(request.series) > MAX_POINTS:
        return f"there are {points * len(request.series)} points; the limit is {MAX_POINTS}: aggregate the data first"
    if request.kind == "bar" and points * len(request.series) > MAX_BARS:
        return f"there are {points * len(request.series)} bars; the limit is {MAX_BARS}: take a line chart"
    for series in request.series:
        if len(series.values) != points:
            return f"series {series.name[:40]!r} has {len(series.values)} values for {points} x: each x needs one"
        if not any(value is not None for value in series.values):
            return f"series {series.name[:40]!r} has no value at all"
    if len({isinstance(value, str) for value in request.x}) > 1:
        return "x mixes numbers and texts: use one kind"
    numbers = [value for series in request.series for value in series.values]
    if not all(_drawable(value) for value in (*numbers, *request.x) if not isinstance(value, str)):
        return "a number is not finite, or too large to be drawn"
    return None


def _drawable(value: Point) -> bool:
    return value is None or (abs(value) < 1e300 and math.isfinite(value))


def are_dates(x: Sequence[float | int | str]) -> bool:
    """Whether every x is a date or an instant as ISO 8601 writes it, all with a zone or all without one."""
    zones = set()
    for value in x:
        if not isinstance(value, str) or not 10 <= len(value) <= 35 or value[4:5] != "-":
            return False
        try:
            zones.add(datetime.fromisoformat(value).tzinfo is None)
        except ValueError:
            return False
    return len(zones) == 1


@dataclass(frozen=True, slots=True)
class _Extent:
    least: float
    most: float
    last: float


def summary(request: ChartRequest) -> str:
    """What the chart shows, in a line a series."""
    points = len(request.x)
    lines = [
        f"{request.kind} chart of {len(request.series)} series over {points} x from {request.x[0]} to {request.x[-1]}"
    ]
    for series in request.series[:10]:
        values = [value for value in series.values if value is not None]
        found = _Extent(min(values), max(values), values[-1])
        lines.append(f"{series.name[:80]}: least {found.least:g}, most {found.most:g}, last {found.last:g}")
    return "\n".join(lines)


def _text(most: int, what: str) -> dict[str, Any]:
    return {"type": "string", "maxLength": most, "description": what}


_PARAMETERS: Mapping[str, JsonValue] = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["line", "bar", "scatter"]},
        "title": _text(120, "What the chart shows"),
        "x": {
            "type": "array",
            "items": {"type": ["number", "string"], "maxLength": 80},
            "minItems": 1,
            "maxItems": MAX_POINTS,
            "description": "Numbers, dates (2026-01-31) or names, in the order of the axis",
        },
        "series": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_SERIES,
            "items": {
                "type": "object",
                "properties": {
                    "name": _text(60, "What these values are"),
                    "values": {"type": "array", "items": {"type": ["number", "null"]}, "maxItems": MAX_POINTS},
                },
                "required": ["name", "values"],
                "additionalProperties": False,
            },
        },
        "x_label": _text(80, "What the x are, with their unit"),
        "y_label": _text(80, "What the values are, with their unit"),
    },
    "required": ["kind", "x", "series"],
    "additionalProperties": False,
}
