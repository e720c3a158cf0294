"""What every route is given: the services, and the caller who may or may not do a thing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from callboard.config.refusal import suggestion
from callboard.errors import InvalidInputError, NotFoundError
from callboard.integrations.http_api.access import Principal
from callboard.integrations.http_api.services import ApiServices
from callboard.messaging.events import Actor

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
LARGEST_PAGE = 500
NAMES_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One request's view of the system."""

    services: ApiServices
    principal: Principal

    def may(self, action: str, target: str = "*") -> None:
        """Every route asks before it does anything; ForbiddenError."""
        self.services.allow(self.principal, action, target)

    @property
    def actor(self) -> Actor:
        return self.principal.actor()

    @property
    def tenant(self) -> str:
        return self.principal.tenant


async def _context(request: Request) -> Context:
    return Context(services=request.app.state.services, principal=request.state.principal)


InContext = Annotated[Context, Depends(_context)]
PageSize = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]


def known_id(value: str, what: str) -> str:
    """An id of ours; what cannot be one is as unknown as one that nobody gave out."""
    if not _ID.fullmatch(value):
        raise NotFoundError(f"there is no {what} {value[:80]!r}: an id is 32 hexadecimal characters")
    return value


def cursor_of(value: str | None) -> int | None:
    """Where a page begins, as the page before said it."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise InvalidInputError(f"cursor {value[:80]!r} was not given out here: use next_cursor", field="cursor")
    return int(value)


def no_agent(context: Context, name: str) -> NotFoundError:
    """The error for a name that no agent has, with the nearest one, else those that there are."""
    names = sorted(context.services.registry.names())
    close = suggestion(name[:80], names) if names else ""
    if close.startswith("did you mean"):
        told = f" ({close})"
    else:
        more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
        told = f"; the agents are: {', '.join(names[:NAMES_TOLD]) or 'none yet'}{more}"
    return NotFoundError(f"no agent {name[:80]!r}{told}", code="unknown_agent", field="agent")


def existing_agent(context: Context, name: str) -> str:
    """The name of an agent that exists now."""
    if name not in context.services.registry.names():
        raise no_agent(context, name)
    return name


async def agent_ever(context: Context, name: str) -> str:
    """The name of an agent that exists now or did once: its runs and versions are kept."""
    if name in context.services.registry.names():
        return name
    if not _NAME.fullmatch(name) or not await context.services.catalog.history(name):
        raise no_agent(context, name)
    return name
