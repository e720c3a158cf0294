"""Draws a chart, inside a child process: the only file that knows matplotlib.

No window system is touched (Agg), nothing is read from the network, and a text is drawn as it stands: no formulas.
"""

from __future__ import annotations

import base64
import io
import resource
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

MEMORY_BYTES = 2 * 1024 * 1024 * 1024
_INCHES = (8.0, 4.5)
_DPI = 160
_COLOURS = (
    *("#2563eb", "#ea580c", "#059669", "#be185d", "#7c3aed"),
    *("#ca8a04", "#0891b2", "#4b5563", "#b91c1c", "#65a30d"),
)
_INK, _FAINT = "#1f2937", "#e5e7eb"
_LONG_LABEL = 24
_MANY_MARKS = 40
_ROW_CHARS = 105
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#9ca3af",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.unicode_minus": True,
}


def draw(request: dict[str, Any]) -> str:
    """A checked request (`chart.ChartRequest`, and whether its x are `dates`) as a PNG image, in base64."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # its keys are a list of every setting there is
        layout = ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.1)
        figure = Figure(figsize=_INCHES, dpi=_DPI, layout=layout, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _frame(axes, request)
        _x_axis(axes, request, _DRAWN[request["kind"]](axes, request))
        _legend(figure, axes, request)
        image = io.BytesIO()
        canvas.print_png(image, metadata={"Software": ""})  # type: ignore[no-untyped-call]
    return base64.b64encode(image.getvalue()).decode("ascii")


def _frame(axes: Axes, request: dict[str, Any]) -> None:
    series = request["series"]
    if request["title"]:
        axes.set_title(_plain(request["title"], 90), loc="left", fontsize=13, fontweight="bold", pad=14)
    axes.set_xlabel(_plain(request["x_label"], 80), labelpad=8)
    alone = series[0]["name"] if len(series) == 1 else ""
    axes.set_ylabel(_plain(request["y_label"] or alone, 60), labelpad=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=_FAINT, linewidth=0.9)
    if request["kind"] == "scatter":
        axes.grid(axis="x", color=_FAINT, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    axes.yaxis.set_major_formatter(_numbers([value for each in series for value in each["values"]]))
    axes.margins(x=0.02, y=0.08)


def _lines(axes: Axes, request: dict[str, Any]) -> list[Any]:
    places = _places(request)
    few = len(places) <= _MANY_MARKS
    for number, series in enumerate(request["series"]):
        axes.plot(
            places,
            _values(series),
            color=_colour(number),
            linestyle="-" if number < len(_COLOURS) else "--",
            linewidth=2.0,
            marker="o" if few else None,
            markersize=4.5,
            label=_label(series, number),
        )
    return places


def _points(axes: Axes, request: dict[str, Any]) -> list[Any]:
    places = _places(request)
    for number, series in enumerate(request["series"]):
        axes.scatter(
            places,
            _values(series),
            color=_colour(number),
            s=34 if len(places) <= 300 else 12,
            alpha=0.8,
            linewidths=0,
            marker="o" if number < len(_COLOURS) else "^",
            label=_label(series, number),
        )
    return places


def _bars(axes: Axes, request: dict[str, Any]) -> list[Any]:
    """Side by side; every x is a name here, in its order."""
    places = list(range(len(request["x"])))
    count = len(request["series"])
    width = 0.8 / count
    for number, series in enumerate(request["series"]):
        shift = (number - (count - 1) / 2) * width
        axes.bar(
            [place + shift for place in places],
            [0.0 if value is None else value for value in series["values"]],
            width=width * (0.94 if count > 1 else 0.85),
            color=_colour(number),
            alpha=1.0 if number < len(_COLOURS) else 0.6,
            label=_label(series, number),
        )
    values = [value or 0.0 for series in request["series"] for value in series["values"]]
    if min(values) < 0:
        axes.axhline(0, color="#9ca3af", linewidth=1.0)
    return places


_DRAWN = {"line": _lines, "scatter": _points, "bar": _bars}


def _places(request: dict[str, Any]) -> list[Any]:
    """Where the values stand: numbers and dates at their own place, names one after the other."""
    x = request["x"]
    if request["dates"]:
        return [datetime.fromisoformat(value) for value in x]
    return list(range(len(x))) if isinstance(x[0], str) else x


def _x_axis(axes: Axes, request: dict[str, Any], places: list[Any]) -> None:
    x = request["x"]
    if request["kind"] == "bar" or (isinstance(x[0], str) and not request["dates"]):
        _names(axes, [value if isinstance(value, str) else _numbers(x)(value) for value in x], places)
    elif request["dates"]:
        locator = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=all(isinstance(value, int) for value in x)))
        axes.xaxis.set_major_formatter(_numbers(x))


def _names(axes: Axes, names: list[str], places: list[Any]) -> None:
    """As many as there is room for, slanted where they are long."""
    step = max(1, -(-len(names) // 30))
    shown = [_plain(name, _LONG_LABEL) for name in names[::step]]
    slanted = sum(len(name) + 2 for name in shown) > 95
    axes.set_xticks(places[::step], shown)
    if slanted:
        axes.tick_params(axis="x", labelrotation=35)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


def _legend(figure: Figure, axes: Axes, request: dict[str, Any]) -> None:
    count = len(request["series"])
    if count > 1:
        handles, labels = axes.get_legend_handles_labels()
        columns = max(1, min(count, 5, _ROW_CHARS // (max(map(len, labels)) + 7)))
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def _label(series: dict[str, Any], number: int) -> str:
    """Its name; the library hides labels that begin with an underscore."""
    return _plain(series["name"], 40).lstrip("_") or f"series {number + 1}"


def _values(series: dict[str, Any]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in series["values"]]


def _numbers(values: Sequence[float | None]) -> FuncFormatter:
    """Short, all of one axis in one unit: `1,234`, `0.25`, `0.8M` beside `1.2M`."""
    largest = max(abs(value) for value in values if value is not None)
    divisor, unit = next(((each, unit) for each, unit in _UNITS if each <= largest < 1e15), (1.0, ""))

    def shown(value: float, _position: int | None = None) -> str:
        part = value / divisor
        if part and not 1e-4 <= abs(part) < 1e15:
            return f"{part:.3g}"
        text = f"{part:,.10g}" if abs(part) < 1 else f"{part:,.6g}"
        return text.replace("-", "\N{MINUS SIGN}") + (unit if part else "")

    return FuncFormatter(shown)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _plain(text: str, most: int) -> str:
    """On one line, and no longer than there is room for."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
