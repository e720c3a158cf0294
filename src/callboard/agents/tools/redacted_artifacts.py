"""What tools keep, without the secrets that an answer must not hold either."""

from __future__ import annotations

from collections.abc import Callable

from callboard.agents.tools.tool import Artifacts


class RedactedArtifacts:
    """`Artifacts` that takes secrets out of names and of every body that is text, whatever type it claims to be.

    It happens before anything is stored: those who hand a file on later (the API, Slack) know fewer secrets than the
    process whose tool made it.
    """

    def __init__(self, artifacts: Artifacts, redact: Callable[[str], str]) -> None:
        self._artifacts = artifacts
        self._redact = redact

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        return await self._artifacts.keep(self._redact(name), media_type, self._without_secrets(body))

    async def read(self, reference: str) -> tuple[str, bytes]:
        return await self._artifacts.read(reference)

    def _without_secrets(self, body: bytes) -> bytes:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            return body
        redacted = self._redact(text)
        return body if redacted == text else redacted.encode("utf-8")
