"""The rows of a query as text for a model; pure.

One JSON array a line: what stands in a cell cannot pass for another row, or for a line of ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRows:
    """Each cell is a JSON text. `cut`: there were more rows than these."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    cut: bool


def cell(value: str | None, max_chars: int) -> str:
    """A cell of JSON, shortened to a string of its beginning where it is too long; None is null."""
    if value is None:
        return "null"
    if len(value) <= max_chars:
        # On one line: JSON that a column holds may have line breaks of its own.
        return value if "\n" not in value and "\r" not in value else json.dumps(json.loads(value), ensure_ascii=False)
    return json.dumps(f"{value[:max_chars].lstrip(chr(34))}…", ensure_ascii=False)


def as_text(found: QueryRows, max_bytes: int) -> str:
    """Columns, rows and how many there are; rows that do not fit are left out, and it says so."""
    lines = [f"columns: {json.dumps(found.columns, ensure_ascii=False)}"]
    left = max_bytes - len(lines[0].encode())
    for row in found.rows:
        line = f"[{','.join(row)}]"
        left -= len(line.encode()) + 1
        if left < 0:
            break
        lines.append(line)
    shown = len(lines) - 1
    if shown < len(found.rows):
        lines.append(f"rows cut at {shown}: {max_bytes} bytes are the limit; ask for fewer columns or rows")
    elif found.cut:
        lines.append(f"rows cut at {shown}: there are more; narrow the query or aggregate")
    else:
        lines.append(f"{shown} {'row' if shown == 1 else 'rows'}")
    return "\n".join(lines)
