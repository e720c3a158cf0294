"""Every table, once, for SQLite and PostgreSQL alike.

Tables are narrow where they are hot: what is large (inputs, outputs, messages) lies in tables beside them, encoded by
`state.codec`. Every table that holds a team's data has `tenant`. Times are aware and in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant: `timestamptz` on PostgreSQL, whole microseconds since 1970 on SQLite, where they sort."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value  # type: ignore[no-any-return]  # asyncpg gives aware datetimes
        return EPOCH + timedelta(microseconds=value)


Json = JSON().with_variant(JSONB(), "postgresql")
BigKey = BigInteger().with_variant(Integer(), "sqlite")
Id = String(32)
Name = String(200)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _tenant(*, primary_key: bool = False) -> Column[str]:
    return Column("tenant", Name, primary_key=primary_key, nullable=False, server_default="default")


events = Table(
    "events",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=True),
    _tenant(),
    Column("event_id", Id, nullable=False, unique=True),
    Column("event_type", Name, nullable=False),
    Column("topic", Name, nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("trace_id", Id, nullable=False),
    Column("causation_id", Id),
    Column("conversation_id", Name),
    Column("priority", String(8), nullable=False),
    Column("hops", SmallInteger, nullable=False),
    Column("actor", Json, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("digest", String(64)),
    Column("schema_version", SmallInteger, nullable=False),
    Column("routed_at", UtcDateTime),
    Column("matched", Integer),
    Index(
        "ix_events_unrouted", "seq", sqlite_where=text("routed_at IS NULL"), postgresql_where=text("routed_at IS NULL")
    ),
    Index(None, "trace_id"),
    sqlite_autoincrement=True,
)

dedupe_keys = Table(
    "dedupe_keys",
    metadata,
    _tenant(primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("event_id", Id, nullable=False),
    Column("digest", String(64)),
    Column("created_at", UtcDateTime, nullable=False),
    Index(None, "created_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("event_seq", BigKey, primary_key=True, autoincrement=False),
    Column("next_try", UtcDateTime, nullable=False),
    Index(None, "next_try"),
)

ACTIVE = "status IN ('queued', 'running', 'waiting')"
CLAIMABLE = "status = 'queued' AND ready"

runs = Table(
    "runs",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=True),
    _tenant(),
    Column("run_id", Id, nullable=False, unique=True),
    Column("event_id", Id, nullable=False),
    Column("trace_id", Id, nullable=False),
    Column("agent", Name, nullable=False),
    Column("agent_version", Integer, nullable=False),
    Column("catalog", Integer, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("available_at", UtcDateTime, nullable=False),
    Column("order_key", String(300)),
    Column("key_seq", BigInteger),
    Column("has_turn", Boolean, nullable=False),
    Column("place_key", String(300)),
    Column("places", Integer),
    Column("has_place", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("context_no", Integer, nullable=False),
    Column("lease_losses", Integer, nullable=False),
    Column("fencing", BigInteger, nullable=False),
    Column("owner", Id),
    Column("claim_token", Id),
    Column("cancel_requested_at", UtcDateTime),
    Column("conversation_id", Name),
    Column("parent_run_id", Id),
    Column("root_run_id", Id),
    Column("step_id", Name),
    Column("depth", SmallInteger, nullable=False),
    Column("hops", SmallInteger, nullable=False),
    Column("timeout_seconds", Float, nullable=False),
    Column("actor", Json, nullable=False),
    Column("reply_to", Json),
    Column("waiting_kind", String(16)),
    Column("waiting_id", Id),
    Column("waiting_since", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("cost_usd", Float, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cost_estimated", Boolean),
    Column("reserved", Boolean),
    Column("dry", Boolean),
    Column("origin_run_id", Id),
    Column("variant", Json),
    Column("tainted", Boolean),
    CheckConstraint(
        "status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'timed_out')", name="status"
    ),
    Index(
        "ix_runs_claim",
        "mode",
        "rank",
        "seq",
        sqlite_where=text(CLAIMABLE),
        postgresql_where=text(CLAIMABLE),
    ),
    Index(
        "uq_runs_turn",
        "tenant",
        "order_key",
        unique=True,
        sqlite_where=text(f"has_turn AND {ACTIVE}"),
        postgresql_where=text(f"has_turn AND {ACTIVE}"),
    ),
    Index(
        "ix_runs_order",
        "tenant",
        "order_key",
        "key_seq",
        sqlite_where=text(f"order_key IS NOT NULL AND {ACTIVE}"),
        postgresql_where=text(f"order_key IS NOT NULL AND {ACTIVE}"),
    ),
    Index(
        "ix_runs_place",
        "tenant",
        "place_key",
        "seq",
        sqlite_where=text(f"place_key IS NOT NULL AND {ACTIVE}"),
        postgresql_where=text(f"place_key IS NOT NULL AND {ACTIVE}"),
    ),
    Index(
        "ix_runs_owner",
        "owner",
        sqlite_where=text("status = 'running'"),
        postgresql_where=text("status = 'running'"),
    ),
    Index(
        "ix_runs_parent",
        "parent_run_id",
        sqlite_where=text("parent_run_id IS NOT NULL"),
        postgresql_where=text("parent_run_id IS NOT NULL"),
    ),
    Index(
        "ix_runs_pausing",
        "available_at",
        sqlite_where=text("status = 'waiting' AND waiting_kind IN ('budget', 'provider')"),
        postgresql_where=text("status = 'waiting' AND waiting_kind IN ('budget', 'provider')"),
    ),
    Index("ix_runs_trace", "trace_id"),
    Index("ix_runs_event", "event_id"),
    Index("ix_runs_agent", "tenant", "agent", "seq"),
    sqlite_autoincrement=True,
)

run_io = Table(
    "run_io",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("input", LargeBinary, nullable=False),
    Column("output", LargeBinary),
    Column("error", Json),
)

run_messages = Table(
    "run_messages",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("context_no", Integer, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("message", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

effects = Table(
    "effects",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("context_no", Integer, primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("tool", Name, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("idempotent", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("fencing", BigInteger, nullable=False),
    Column("result", LargeBinary),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    CheckConstraint("status IN ('attempting', 'done', 'failed')", name="status"),
)

progress = Table(
    "progress",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("data", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

agent_states = Table(
    "agent_states",
    metadata,
    _tenant(primary_key=True),
    Column("agent", Name, primary_key=True),
    Column("conversation_id", Name, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("fencing", BigInteger, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("memory", LargeBinary, nullable=False),
    Column("run_id", Id),
    Column("updated_at", UtcDateTime, nullable=False),
)

conversation_messages = Table(
    "conversation_messages",
    metadata,
    _tenant(primary_key=True),
    Column("agent", Name, primary_key=True),
    Column("conversation_id", Name, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("run_id", Id),
    Column("message", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

plans = Table(
    "plans",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("goal", Text, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("graph", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

plan_run_states = Table(
    "plan_run_states",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

clarifications = Table(
    "clarifications",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("run_id", Id, nullable=False),
    Column("root_run_id", Id, nullable=False),
    Column("key", String(300), nullable=False),
    Column("agent", Name, nullable=False),
    Column("trace_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("question", Text, nullable=False),
    Column("options", Json, nullable=False),
    Column("schema", Json),
    Column("status", String(16), nullable=False),
    Column("answer", Json),
    Column("comment", Text),
    Column("answered_by", Name),
    Column("actor", Json),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("deadline", UtcDateTime),
    Column("answered_at", UtcDateTime),
    Column("consumed_at", UtcDateTime),
    Column("purpose", String(16)),
    Column("details", Json),
    Column("digest", String(64)),
    Column("may_answer", Json),
    Column("requester", Name),
    Column("on_deadline", String(16)),
    Column("default_answer", Json),
    Column("escalate_to", Name),
    Column("escalated_at", UtcDateTime),
    Column("remind_seconds", Float),
    Column("next_reminder", UtcDateTime),
    UniqueConstraint("run_id", "key"),
    CheckConstraint("status IN ('asked', 'answered', 'expired', 'cancelled')", name="status"),
    Index(None, "root_run_id"),
    Index(
        "ix_clarifications_open",
        "asked_at",
        sqlite_where=text("status = 'asked'"),
        postgresql_where=text("status = 'asked'"),
    ),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("run_id", Id, nullable=False),
    Column("name", Name, nullable=False),
    Column("media_type", Name, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("run_id", "digest"),
)

plan_revisions = Table(
    "plan_revisions",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("graph", Json, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

memories = Table(
    "memories",
    metadata,
    _tenant(primary_key=True),
    Column("agent", Name, primary_key=True),
    Column("scope", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("source", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

spending = Table(
    "spending",
    metadata,
    _tenant(primary_key=True),
    Column("scope", String(16), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("usd", Float, nullable=False),
    Column("estimated_usd", Float, nullable=False),
    Column("raised_usd", Float, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("model_calls", BigInteger, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    _tenant(primary_key=True),
    Column("scope", String(16), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("run_id", Id, primary_key=True),
    Column("fencing", BigInteger, primary_key=True),
    Column("call", Integer, primary_key=True),
    Column("usd", Float, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_reservations_run", "run_id"),
)

provider_states = Table(
    "provider_states",
    metadata,
    _tenant(primary_key=True),
    Column("name", Name, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("open_until", UtcDateTime),
    Column("probe_until", UtcDateTime),
    Column("cooldown_until", UtcDateTime),
    Column("allowance", Float),
    Column("refilled_at", UtcDateTime),
    Column("reason", Text),
    Column("updated_at", UtcDateTime, nullable=False),
)

mcp_tools = Table(
    "mcp_tools",
    metadata,
    _tenant(primary_key=True),
    Column("agent", Name, primary_key=True),
    Column("server", Name, primary_key=True),
    Column("tool", Name, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("shown", Text, nullable=False),
    Column("offered_digest", String(64)),
    Column("offered", Text),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("approved_by", Name),
    Column("approved_at", UtcDateTime),
)

processes = Table(
    "processes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("role", Name, nullable=False),
    Column("host", Name, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("beat_at", UtcDateTime, nullable=False),
    Column("dead", Boolean, nullable=False),
)

order_keys = Table(
    "order_keys",
    metadata,
    _tenant(primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("next_seq", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=True),
    Column("id", Id, nullable=False, unique=True),
    _tenant(),
    Column("run_id", Id),
    Column("event_id", Id),
    Column("clarification_id", Id),
    Column("kind", String(16), nullable=False),
    Column("target", Json, nullable=False),
    Column("thread_key", String(300), nullable=False),
    Column("pace_key", String(300)),
    Column("pace_until", UtcDateTime),
    Column("body", Json),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", UtcDateTime, nullable=False),
    Column("owner", Id),
    Column("client_msg_id", String(64)),
    Column("sent_ts", String(64)),
    Column("error", Json),
    Column("trace_id", Id, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("status IN ('planned', 'attempting', 'sent', 'unknown', 'failed')", name="status"),
    Index(
        "ix_deliveries_open",
        "next_try",
        sqlite_where=text("status IN ('planned', 'attempting')"),
        postgresql_where=text("status IN ('planned', 'attempting')"),
    ),
    Index(
        "ix_deliveries_unplaced",
        "seq",
        sqlite_where=text("pace_key IS NULL"),
        postgresql_where=text("pace_key IS NULL"),
    ),
    Index(
        "ix_deliveries_thread",
        "thread_key",
        "seq",
        sqlite_where=text("status IN ('planned', 'attempting')"),
        postgresql_where=text("status IN ('planned', 'attempting')"),
    ),
    Index("ix_deliveries_pace", "pace_key", "pace_until"),
    Index("ix_deliveries_run", "run_id"),
    Index("ix_deliveries_thread_key", "thread_key"),
    sqlite_autoincrement=True,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("queue", Name, nullable=False),
    Column("topic", Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("event_id", Id),
    Column("trace_id", Id),
    Column("body", LargeBinary, nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    CheckConstraint("status IN ('kept', 'requeued', 'dropped')", name="status"),
)

agent_versions = Table(
    "agent_versions",
    metadata,
    _tenant(primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("definition", Json, nullable=False),
    Column("warnings", Json, nullable=False),
    Column("actor", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

catalog_entries = Table(
    "catalog_entries",
    metadata,
    _tenant(primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("from_number", Integer, primary_key=True),
    Column("until_number", Integer),
    Column("path", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Index("ix_catalog_entries_numbers", "tenant", "kind", "from_number", "until_number"),
)

catalog_heads = Table(
    "catalog_heads",
    metadata,
    _tenant(primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

rejections = Table(
    "rejections",
    metadata,
    _tenant(primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("path", String(1000), primary_key=True),
    Column("name", Name),
    Column("version", Integer),
    Column("digest", String(64), nullable=False),
    Column("problems", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

agent_status = Table(
    "agent_status",
    metadata,
    _tenant(primary_key=True),
    Column("agent", Name, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("restarts", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("status IN ('available', 'unavailable', 'restarting', 'failed', 'paused')", name="status"),
)

agent_beats = Table(
    "agent_beats",
    metadata,
    _tenant(primary_key=True),
    Column("agent", Name, primary_key=True),
    Column("process_id", Id, primary_key=True),
    Column("active", Integer, nullable=False),
    Column("progress", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("wanted_generation", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    _tenant(primary_key=True),
    Column("id", Name, primary_key=True),
    Column("agent", Name, nullable=False),
    Column("time_keys", Id, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("last_nominal", UtcDateTime),
    Column("removed_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
)

occurrences = Table(
    "occurrences",
    metadata,
    _tenant(primary_key=True),
    Column("schedule_id", Name, primary_key=True),
    Column("nominal", UtcDateTime, primary_key=True),
    Column("agent", Name, nullable=False),
    Column("status", String(16), nullable=False),
    Column("phase", String(8), nullable=False),
    Column("reason", Text),
    Column("event_id", Id),
    Column("run_id", Id),
    Column("trace_id", Id),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("status IN ('fired', 'skipped', 'missed', 'caught_up')", name="status"),
    CheckConstraint("phase IN ('queued', 'open', 'closed')", name="phase"),
    Index(
        "ix_occurrences_unfinished",
        "tenant",
        "schedule_id",
        "nominal",
        sqlite_where=text("phase <> 'closed'"),
        postgresql_where=text("phase <> 'closed'"),
    ),
    Index("ix_occurrences_agent", "tenant", "agent", "nominal"),
)

operations = Table(
    "operations",
    metadata,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    _tenant(),
    Column("actor", Json, nullable=False),
    Column("action", Name, nullable=False),
    Column("object", Name, nullable=False),
    Column("details", Json, nullable=False),
    Column("previous_hash", String(64)),
    Column("created_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

locks = Table(
    "locks", metadata, Column("name", Name, primary_key=True), Column("holder", Id), Column("until", UtcDateTime)
)
