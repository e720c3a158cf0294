"""What a role is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from callboard.bootstrap.core import Core
from callboard.clock import Clock
from callboard.health import HealthCheck
from callboard.logs import Redactor
from callboard.messaging.message import MessageSource
from callboard.roles import NamedLoop


async def nothing() -> None:
    """What a role does that has nothing to prepare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleWork:
    """`begin` runs once the bus has been started and before the first loop; it may be repeated after a failure.

    `checks` stand beside or in place of those that every role has. `serves` says at which address people find it.
    """

    loops: Sequence[NamedLoop]
    begin: Callable[[], Awaitable[None]] = nothing
    end: Callable[[], Awaitable[None]] = nothing
    checks: Mapping[str, HealthCheck] = field(default_factory=dict)
    serves: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a role may use: the core that all stand on, a stack for what must be closed, the log's redactor.

    `source` is the core's bus, for whoever works a queue that others write to. `host_clock` is this machine's, for what
    is compared with the time of others than us; the core's clock is the database's.
    """

    core: Core
    source: MessageSource
    host_clock: Clock
    stack: contextlib.AsyncExitStack
    redactor: Redactor


BuildRole = Callable[[Surroundings], Awaitable[RoleWork]]
