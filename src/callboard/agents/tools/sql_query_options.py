"""The `with` of `sql_query` in an agent file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SqlQueryOptions(BaseModel):
    """`database` is a SQLAlchemy URL. `tables` are the only ones that may be read, as `table` or `schema.table`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    database: str = Field(min_length=1, max_length=2000, repr=False)
    max_rows: int = Field(default=200, ge=1, le=1000)
    timeout_seconds: float = Field(default=30.0, gt=0, le=300)
    max_bytes: int = Field(default=64 * 1024, ge=1000, le=256 * 1024)
    max_cell_chars: int = Field(default=500, ge=20, le=10_000)
    tables: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=200)
