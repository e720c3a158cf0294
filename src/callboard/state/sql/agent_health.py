"""Units of work: statuses and signs of life of agents (DESIGN.md, R30)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.messaging.events import Actor, Event, EventType
from callboard.state.agent_health import AgentBeat, AgentStatusRecord, Availability
from callboard.state.finishing import Consequences, StoredEvent
from callboard.state.models import agent_beats, agent_status, processes
from callboard.state.registered_agents import AgentStatus
from callboard.state.sql.answering import audit
from callboard.state.sql.events import record_once

MAX_RESTARTS = 3
OF_PROCESS = "@"
"""Between an agent's name and the process that says something of it."""
_IS_A_WORD = agent_status.c.agent.contains(OF_PROCESS)


def list_statuses(connection: Connection, tenant: str) -> list[AgentStatusRecord]:
    rows = connection.execute(select(agent_status).where(agent_status.c.tenant == tenant, ~_IS_A_WORD))
    return [
        AgentStatusRecord(
            agent=row.agent,
            status=AgentStatus(row.status),
            reason=row.reason,
            restarts=row.restarts,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def set_status(
    connection: Connection, tenant: str, wanted: AgentStatusRecord, actor: Actor, trace_id: str
) -> Consequences:
    """Puts a status on record and announces it."""
    row = {
        "status": wanted.status.value,
        "reason": wanted.reason,
        "restarts": wanted.restarts,
        "updated_at": wanted.updated_at,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(
        dialect.insert(agent_status)
        .values(tenant=tenant, agent=wanted.agent, **row)
        .on_conflict_do_update(index_elements=[agent_status.c.tenant, agent_status.c.agent], set_=row)
    )
    if actor.kind != "system":
        audit(connection, actor, f"agent.{wanted.status.value}", wanted.agent, {}, wanted.updated_at)
    return Consequences(events=record_once(connection, [_event(tenant, wanted, actor, trace_id)], routed=False))


def report_availability(
    connection: Connection,
    tenant: str,
    process_id: str,
    found: Sequence[Availability],
    now: datetime,
    trace_id: str,
) -> Consequences:
    """Unavailable or available again, where neither a person nor the health watch has set another status.

    An agent is as available as the living process that it is best off in: one may have a key that another has not.
    """
    # Always in one order: several processes report the same agents.
    names = sorted({item.agent for item in found})
    rows = connection.execute(
        select(agent_status)
        .where(agent_status.c.tenant == tenant, agent_status.c.agent.in_(names))
        .order_by(agent_status.c.agent)
        .with_for_update()
    )
    known = {row.agent: row for row in rows}
    _keep_words(connection, tenant, process_id, found, now)
    reasons = _best_words(connection, tenant, process_id)
    told: list[StoredEvent] = []
    for name in names:
        reason, record = reasons[name], known.get(name)
        status = AgentStatus.AVAILABLE if reason is None else AgentStatus.UNAVAILABLE
        if record is None and status is AgentStatus.AVAILABLE:
            continue
        if record is not None:
            free = record.status in (AgentStatus.AVAILABLE.value, AgentStatus.UNAVAILABLE.value)
            if not free or (record.status, record.reason) == (status.value, reason):
                continue
        wanted = AgentStatusRecord(
            agent=name,
            status=status,
            reason=reason,
            restarts=0 if record is None else record.restarts,
            updated_at=now,
        )
        told += set_status(connection, tenant, wanted, Actor(kind="system", id="agent-pool"), trace_id).events
    return Consequences(events=tuple(told))


def _keep_words(
    connection: Connection, tenant: str, process_id: str, found: Sequence[Availability], now: datetime
) -> None:
    """What one process says of its agents, beside the records that count; no agent has a name like these rows."""
    insertion = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(agent_status)
    said = insertion.excluded
    rows = [
        {
            "tenant": tenant,
            "agent": f"{item.agent}{OF_PROCESS}{process_id}",
            "status": (AgentStatus.AVAILABLE if item.reason is None else AgentStatus.UNAVAILABLE).value,
            "reason": item.reason,
            "restarts": 0,
            "updated_at": now,
        }
        for item in found
    ]
    connection.execute(
        insertion.on_conflict_do_update(
            index_elements=[agent_status.c.tenant, agent_status.c.agent],
            set_={"status": said.status, "reason": said.reason, "updated_at": said.updated_at},
        ),
        sorted(rows, key=itemgetter("agent")),
    )


def _best_words(connection: Connection, tenant: str, process_id: str) -> dict[str, str | None]:
    """Of each agent that a living process, or this one, has spoken of: None where one of them can execute it, else why
    not; of several reasons always the same, whoever asks."""
    alive = {process_id, *connection.execute(select(processes.c.id).where(processes.c.dead.is_(False))).scalars()}
    words = connection.execute(
        select(agent_status.c.agent, agent_status.c.reason).where(agent_status.c.tenant == tenant, _IS_A_WORD)
    )
    reasons: dict[str, set[str | None]] = defaultdict(set)
    for row in words:
        agent, _, process = row.agent.rpartition(OF_PROCESS)
        if process in alive:
            reasons[agent].add(row.reason)
    return {agent: None if None in of_it else min(filter(None, of_it)) for agent, of_it in reasons.items()}


def save_beats(connection: Connection, tenant: str, beats: Sequence[AgentBeat], now: datetime) -> list[AgentBeat]:
    """Writes the signs of life of one process and gives back what is wanted of its agents."""
    saved = []
    for beat in beats:
        where = (
            agent_beats.c.tenant == tenant,
            agent_beats.c.agent == beat.agent,
            agent_beats.c.process_id == beat.process_id,
        )
        values = {
            "active": beat.active,
            "progress": beat.progress,
            "generation": beat.generation,
            "updated_at": now,
        }
        row = connection.execute(
            update(agent_beats).where(*where).values(**values).returning(agent_beats.c.wanted_generation)
        ).first()
        if row is None:
            key = {"tenant": tenant, "agent": beat.agent, "process_id": beat.process_id}
            connection.execute(insert(agent_beats), [{**key, **values, "wanted_generation": 0}])
        wanted = 0 if row is None else row.wanted_generation
        saved.append(
            AgentBeat(
                agent=beat.agent,
                process_id=beat.process_id,
                active=beat.active,
                progress=beat.progress,
                generation=beat.generation,
                wanted_generation=wanted,
            )
        )
    return saved


def list_beats(connection: Connection, tenant: str) -> list[AgentBeat]:
    """Of living processes only; what the dead have left is cleared away."""
    alive = select(processes.c.id).where(processes.c.dead.is_(False))
    connection.execute(delete(agent_beats).where(agent_beats.c.process_id.not_in(alive)))
    _forget_words_of_the_dead(connection)
    rows = connection.execute(select(agent_beats).where(agent_beats.c.tenant == tenant))
    return [
        AgentBeat(
            agent=row.agent,
            process_id=row.process_id,
            active=row.active,
            progress=row.progress,
            generation=row.generation,
            wanted_generation=row.wanted_generation,
        )
        for row in rows
    ]


def _forget_words_of_the_dead(connection: Connection) -> None:
    alive = set(connection.execute(select(processes.c.id).where(processes.c.dead.is_(False))).scalars())
    words = connection.execute(select(agent_status.c.agent).where(_IS_A_WORD)).scalars()
    gone = {word for word in words if word.rpartition(OF_PROCESS)[2] not in alive}
    if gone:
        deletion = delete(agent_status).where(agent_status.c.agent == bindparam("word"))
        connection.execute(deletion, [{"word": word} for word in sorted(gone)])


def want_restart(
    connection: Connection, tenant: str, beat: AgentBeat, now: datetime, trace_id: str
) -> tuple[AgentStatusRecord | None, Consequences]:
    """Asks the process to make the agent anew; after the third time the agent has failed.

    None where another watcher has asked since `beat` was read: one silence is one restart, however many have seen it.
    """
    asked = connection.execute(
        update(agent_beats)
        .where(
            agent_beats.c.tenant == tenant,
            agent_beats.c.agent == beat.agent,
            agent_beats.c.process_id == beat.process_id,
            agent_beats.c.generation == beat.generation,
            agent_beats.c.wanted_generation == beat.wanted_generation,
        )
        .values(wanted_generation=beat.generation + 1)
    )
    if asked.rowcount == 0:
        return None, Consequences()
    restarts = _restarts(connection, tenant, beat.agent, now)
    failed = restarts >= MAX_RESTARTS
    silent = f"it gave no sign of life for a minute in process {beat.process_id}"
    wanted = AgentStatusRecord(
        agent=beat.agent,
        status=AgentStatus.FAILED if failed else AgentStatus.RESTARTING,
        reason=f"{silent}, after {MAX_RESTARTS} restarts" if failed else silent,
        restarts=restarts + (not failed),
        updated_at=now,
    )
    return wanted, set_status(connection, tenant, wanted, Actor(kind="system", id="health"), trace_id)


def _restarts(connection: Connection, tenant: str, agent: str, now: datetime) -> int:
    """How often it was restarted, under a lock: its silence in another process may be found at the same time."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    fresh = {"status": AgentStatus.AVAILABLE.value, "restarts": 0, "updated_at": now}
    connection.execute(
        dialect.insert(agent_status).values(tenant=tenant, agent=agent, **fresh).on_conflict_do_nothing()
    )
    restarts: int = connection.execute(
        select(agent_status.c.restarts)
        .where(agent_status.c.tenant == tenant, agent_status.c.agent == agent)
        .with_for_update()
    ).scalar_one()
    return restarts


def _event(tenant: str, wanted: AgentStatusRecord, actor: Actor, trace_id: str) -> Event:
    return Event(
        event_id=derive_id("agent.status", tenant, wanted.agent, wanted.status, wanted.updated_at.isoformat()),
        event_type=EventType.AGENT_STATUS,
        topic=topology.agent_status(wanted.agent),
        timestamp=wanted.updated_at,
        trace_id=trace_id,
        actor=actor,
        payload={
            "agent": wanted.agent,
            "status": wanted.status.value,
            "reason": wanted.reason,
            "restarts": wanted.restarts,
        },
        tenant=tenant,
    )
