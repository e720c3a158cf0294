"""Leases of processes, as verbs (DESIGN.md, R13 to R15)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from callboard.clock import Clock
from callboard.state.announcer import Announcer
from callboard.state.database import Database
from callboard.state.finishing import Consequences
from callboard.state.processes import BeatReply, ProcessRecord
from callboard.state.sql import processes

if TYPE_CHECKING:
    from sqlalchemy import Connection


class ProcessStore:
    def __init__(self, database: Database, announcer: Announcer, clock: Clock) -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock

    async def register(self, process_id: str, role: str, host: str, pid: int) -> None:
        """From now on the process may claim runs, as long as it beats."""
        now = self._clock.now()
        record = ProcessRecord(
            id=process_id, role=role, host=host, pid=pid, beat=0, started_at=now, beat_at=now, dead=False
        )
        await self._database.write(partial(processes.register, record=record))

    async def beat(self, process_id: str) -> BeatReply:
        """Raises FencedError once the process was declared dead."""
        return await self._database.write(partial(processes.beat, process_id=process_id, now=self._clock.now()))

    async def alive(self) -> list[ProcessRecord]:
        """Everybody who has not been declared dead."""
        return await self._database.read(processes.list_alive)

    async def declare_dead(self, process_ids: Sequence[str]) -> int:
        """Their runs are queued again; a run that has lost too many owners ends as failed (`worker_lost`).

        Returns how many runs lost their owner.
        """
        now = self._clock.now()

        def declare(connection: Connection) -> tuple[int, Consequences]:
            lost = processes.count_owned(connection, process_ids)
            return lost, processes.declare_dead(connection, process_ids, now)

        lost, told = await self._database.write(declare)
        self._announcer.offer(told)
        return lost

    async def hand_back(self, process_id: str) -> None:
        """A clean exit: what the process still held is queued again, without a loss."""
        told = await self._database.write(partial(processes.hand_back, process_id=process_id, now=self._clock.now()))
        self._announcer.offer(told)
