"""From when something that is to be done at once may be taken."""

from __future__ import annotations

from datetime import datetime, timedelta

CLOCKS_APART = timedelta(seconds=0.25)
"""Each process carries the database's time on by itself, some milliseconds behind it. One that is woken at once must
not find that what it was woken for lies in its future, and leave it to the next poll."""


def at_once(now: datetime) -> datetime:
    """Due for every process, whichever of them wrote it."""
    return now - CLOCKS_APART
