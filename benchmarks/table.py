"""One table for all subjects: what was measured, beside what, and whether that is within the bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number. `peer` is the other side, measured in the same run; `bound` is a ceiling, or a floor if `floor`.

    With `of_ratio` the bound is one on measured / peer.
    """

    subject: str
    measured: float
    unit: str
    bound: float | None = None
    floor: bool = False
    of_ratio: bool = False
    peer: float | None = None
    peer_name: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.peer else self.measured / self.peer

    @property
    def within(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        value = self.ratio if self.of_ratio else self.measured
        if self.bound is None or value is None:
            return None
        return value >= self.bound if self.floor else value <= self.bound


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def render(rows: Sequence[Row], heading: str) -> str:
    """The table as text, with the heading over it."""
    cells = [("subject", "measured", "peer", "ratio", "bound", "")]
    cells += [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([heading, lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    bound = ""
    if row.bound is not None:
        bound = f"{'≥' if row.floor else '≤'} {_number(row.bound)} {'times the peer' if row.of_ratio else row.unit}"
    verdict = {True: "kept", False: "SHORT", None: ""}[row.within]
    peer = "" if row.peer is None else f"{_number(row.peer)} {row.unit} ({row.peer_name})"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return row.subject, f"{_number(row.measured)} {row.unit}", peer, ratio, bound, verdict


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
