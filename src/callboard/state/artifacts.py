"""What tools made beside text: an image, a table, a long answer; kept with the run that made it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

MAX_ARTIFACT_BYTES = 8 * 1024 * 1024
MAX_BYTES_OF_A_RUN = 64 * 1024 * 1024
MAX_ARTIFACTS_OF_A_RUN = 500
MAX_NAME_CHARS = 120
UNKNOWN_TYPE = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}(; ?charset=[a-z0-9-]{1,20})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """`digest` is the SHA-256 of the body. The id follows from the run and the digest: one body is kept once a run."""

    id: str
    tenant: str
    run_id: str
    name: str
    media_type: str
    size_bytes: int
    digest: str
    created_at: datetime

    @property
    def reference(self) -> str:
        """What stands for it in texts."""
        return f"artifact:{self.id}"


def file_name(name: str) -> str:
    """A name that means one file wherever it is saved: no folder, no leading dot, nothing that steers a terminal."""
    plain = "".join(sign if sign.isprintable() and sign not in '/\\:*?"<>|' else "_" for sign in name)
    return plain.strip(". ")[:MAX_NAME_CHARS] or "artifact"


def media_type_of(text: str) -> str:
    """The media type in small letters; what is none counts as bytes of an unknown kind."""
    lowered = text.strip().lower()
    return lowered if _MEDIA_TYPE.fullmatch(lowered) else UNKNOWN_TYPE
