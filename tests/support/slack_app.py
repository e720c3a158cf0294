"""The Slack app of every installation that tests run: its signing secret and its token."""

from __future__ import annotations

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-local"
