"""Who belongs to a Slack user group, asked of Slack and remembered for a few minutes."""

from __future__ import annotations

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.integrations.slack_client import Done, Refused, SlackClient

CACHE_SECONDS = 300.0
_ASK_SECONDS = 0.8


class SlackUserGroups:
    """What Slack could not be asked is never guessed: a membership that is older than `cache_seconds` is unknown."""

    def __init__(self, slack: SlackClient, clock: Clock, *, cache_seconds: float = CACHE_SECONDS) -> None:
        self._slack = slack
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    async def members(self, group: str) -> frozenset[str]:
        """The user ids in the group `S…`. UnavailableError when Slack does not say."""
        now = self._clock.monotonic()
        known = self._known.get(group)
        if known is not None and now - known[0] < self._cache_seconds:
            return known[1]
        reply = await self._slack.read("usergroups.users.list", {"usergroup": group}, timeout_seconds=_ASK_SECONDS)
        users = reply.data.get("users") if isinstance(reply, Done) else None
        if not isinstance(users, list):
            reason = reply.code if isinstance(reply, Refused) else "no valid answer came"
            raise UnavailableError(f"Slack does not say who is in {group}: {reason}", code="group_unknown")
        members = frozenset(user for user in users if isinstance(user, str))
        self._known[group] = (now, members)
        return members
