"""Where a system keeps what is true, and where it may listen."""

from __future__ import annotations

from pathlib import Path

from callboard.errors import UnavailableError
from callboard.settings import Settings, text_of
from callboard.state.data_folder import DataFolder

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def data_folder(settings: Settings) -> DataFolder:
    """Where an embedded system keeps what is true: the data folder, or the file that DATABASE_URL names.

    Raises UnavailableError for a DATABASE_URL of another kind than `sqlite:///PATH`.
    """
    url = text_of(settings.database_url)
    if url is None:
        return DataFolder(settings.data_folder)
    scheme, _, path = url.partition("://")
    if scheme != "sqlite" or not path.strip("/"):
        raise UnavailableError(
            f"DATABASE_URL is a {scheme[:20]} address, which `callboard up` cannot use: write sqlite:///PATH, or unset "
            "it to keep everything in the data folder; with PostgreSQL each role is a process (`callboard serve ROLE`)",
            code="database_url",
        )
    file = Path(path.removeprefix("/"))
    return DataFolder(file.parent, file.name)


def check_address(settings: Settings) -> None:
    """Without a token the API is this machine's alone (DESIGN.md, R33)."""
    if settings.api_token is None and settings.host not in LOOPBACK:
        raise UnavailableError(
            f"without CALLBOARD_API_TOKEN the API listens on this machine only, not on {settings.host}: set one, or "
            "listen on 127.0.0.1",
            code="token_needed",
        )
