"""A chart is an image and its data, kept with the run; what cannot be drawn is told in words that help."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from callboard.agents.tools.arguments import argument_problems
from callboard.agents.tools.chart import Chart, ChartTools, are_dates
from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.tool import ToolContext, ToolError
from callboard.errors import InvalidInputError

VISITS: dict[str, JsonValue] = {
    "kind": "line",
    "title": "Visits",
    "x": ["2026-01-01", "2026-01-02", "2026-01-03"],
    "series": [{"name": "north", "values": [1, 5, 3]}, {"name": "south", "values": [2.5, None, -4]}],
    "y_label": "visits a day",
}


@dataclass(eq=False)
class Shelf:
    """`Artifacts` in memory."""

    kept: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        self.kept[name] = (media_type, body)
        return f"artifact:{name}"

    async def read(self, reference: str) -> tuple[str, bytes]:
        return self.kept[reference.removeprefix("artifact:")]


async def draw(shelf: Shelf | None = None, **changes: Any) -> str:
    arguments = {**VISITS, **changes}
    chart = Chart(ChildRunner())
    assert argument_problems(chart.parameters, arguments) == []
    context = ToolContext(
        run_id="r" * 32, agent="painter", idempotency_key="k" * 32, artifacts=Shelf() if shelf is None else shelf
    )
    return await chart.call(arguments, context)


def pixels(image: bytes) -> tuple[int, int, int]:
    """Width and height of a PNG, and how many different lines of pixels it has."""
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, colour = struct.unpack(">IIBB", image[16:26])
    assert (depth, colour) == (8, 6)
    body, at = b"", 8
    while at < len(image):
        (size,) = struct.unpack(">I", image[at : at + 4])
        if image[at + 4 : at + 8] == b"IDAT":
            body += image[at + 8 : at + 8 + size]
        at += size + 12
    lines = zlib.decompress(body)
    row = width * 4 + 1
    return width, height, len({lines[n : n + row] for n in range(0, len(lines), row)})


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.slow
async def test_a_chart_is_kept_as_an_image_and_as_its_data() -> None:
    shelf = Shelf()
    told = await draw(shelf)
    assert told.splitlines() == [
        "image: artifact:Visits.png",
        "data: artifact:Visits.json",
        "line chart of 2 series over 3 x from 2026-01-01 to 2026-01-03",
        "north: least 1, most 5, last 3",
        "south: least -4, most 2.5, last -4",
    ]
    media_type, image = shelf.kept["Visits.png"]
    assert media_type == "image/png"
    width, height, different = pixels(image)
    assert (width, height) == (1280, 720)
    assert different > 50, "there is something on it"
    media_type, data = shelf.kept["Visits.json"]
    assert media_type == "application/json"
    assert json.loads(data)["series"] == VISITS["series"]


@pytest.mark.slow
async def test_the_same_request_is_the_same_image() -> None:
    one, two = Shelf(), Shelf()
    await draw(one)
    await draw(two)
    assert one.kept == two.kept


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "bar"},
        {"kind": "scatter", "x": [1, 2.5, 1e6]},
        {"kind": "scatter", "x": ["a", "b", "a"]},
        {"kind": "bar", "x": [1, 2, 3], "title": ""},
        {"kind": "line", "x": [3, 1, 2]},
        {"x": ["2026-01-01T10:00:00+02:00", "2026-01-01T11:00:00+02:00", "2026-01-01T12:00:00+00:00"]},
        {"title": "$\\frac{1}{0}$ $ unbalanced", "x_label": "a\nb\x1b[31m", "y_label": "☎ 日本 \u202e"},
        {"series": [{"name": "_hidden", "values": [0, 0, 0]}, {"name": "", "values": [1e299, -1e299, 1e-300]}]},
        {"series": [{"name": f"s{n}", "values": [n, None, n * 2]} for n in range(20)]},
        {"x": ["x" * 80] * 3, "kind": "bar", "title": "t" * 120},
        {"x": [5, 5, 5], "series": [{"name": "point", "values": [7, 7, 7]}]},
        {"x": [10**15, 10**16, 10**17]},
    ],
)
async def test_whatever_fits_is_drawn(changes: dict[str, Any]) -> None:
    assert "image: artifact:" in await draw(**changes)


@pytest.mark.slow
async def test_as_many_points_as_are_allowed_are_drawn() -> None:
    values = [math.sin(n / 50) for n in range(10_000)]
    assert "over 10000 x" in await draw(kind="scatter", x=list(range(10_000)), series=[{"name": "a", "values": values}])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"series": [{"name": "a", "values": [1, 2]}]}, "'a' has 2 values for 3 x"),
        ({"series": [{"name": "a", "values": [None] * 3}]}, "has no value at all"),
        ({"x": [1, "b", 3]}, "mixes numbers and texts"),
        ({"x": list(range(1001)), "series": [{"name": "a", "values": [1] * 1001}] * 10}, "limit is 10000: aggregate"),
        ({"kind": "bar", "x": list(range(201)), "series": [{"name": "a", "values": [1] * 201}]}, "take a line chart"),
        ({"x": [1, float("nan"), 3]}, "not finite"),
        ({"series": [{"name": "a", "values": [1, float("inf"), 3]}]}, "not finite"),
        ({"series": [{"name": "a", "values": [1, 10**400, 3]}]}, "number"),
        ({"x": [10**400, 1, 2]}, "number|x"),
    ],
)
async def test_what_cannot_be_drawn_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError, match=said):
        await draw(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "pie"},
        {"series": []},
        {"x": []},
        {"title": "t" * 121},
        {"colour": "red"},
        {"series": [{"name": "a", "values": ["1", "2", "3"]}]},
        {"series": [{"name": "a", "values": [1, 2, 3], "file": "/etc/passwd"}]},
        {"series": [{"name": "a", "values": [1, 2, 3]}] * 21},
    ],
)
def test_the_schema_says_what_is_possible(changes: dict[str, Any]) -> None:
    assert argument_problems(Chart(ChildRunner()).parameters, {**VISITS, **changes})


@pytest.mark.parametrize(
    ("x", "dates"),
    [
        (["2026-01-01", "2026-02-01"], True),
        (["2026-01-01T00:00:00", "2026-02-01"], True),
        (["2026-01-01T00:00:00Z", "2026-02-01"], False),
        (["2026-13-01"], False),
        (["2026"], False),
        ([2026], False),
        (["1234567890"], False),
    ],
)
def test_dates_are_told_from_names(x: list[Any], dates: bool) -> None:
    assert are_dates(x) is dates


@pytest.mark.slow
async def test_the_drawing_library_stays_in_the_child() -> None:
    await draw()
    assert "matplotlib" not in sys.modules


@pytest.mark.slow
async def test_charts_leave_one_folder_however_many_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HOME", "/nonexistent")
    await draw()
    await draw(kind="bar")
    folder = tmp_path / f"callboard-charts-{os.getuid()}"
    assert names_in(tmp_path) == [folder.name]
    folder.chmod(0o777)
    with pytest.raises(ToolError, match="belongs to somebody else"):
        await draw()


def test_options_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"chart has no options: remove with\.colour"):
        ChartTools(ChildRunner()).factories()["chart"]({"colour": "red"})
