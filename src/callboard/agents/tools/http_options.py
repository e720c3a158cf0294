"""The `with` of the HTTP tools in an agent file."""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_OWN_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "idempotency-key", "traceparent"}
)


class HttpOptions(BaseModel):
    """`headers` go to the allowed hosts only, so they need `allow`: the model chooses the URL, not who gets a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[str, ...] | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    timeout_seconds: float = Field(default=20.0, gt=0, le=300)
    max_bytes: int = Field(default=256 * 1024, ge=1, le=1024 * 1024)

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f"header {name!r} cannot be set")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of header {name!r} must be printable ASCII on one line")
        return headers

    @model_validator(mode="after")
    def _headers_need_hosts(self) -> Self:
        if self.headers and not self.allow:
            raise ValueError("headers need allow: name the hosts that they are for")
        return self
