"""first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from callboard.state.models import UtcDateTime

JSON_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_beats",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("process_id", sa.String(length=32), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("progress", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("wanted_generation", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent", "process_id", name=op.f("pk_agent_beats")),
    )
    op.create_table(
        "agent_states",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("conversation_id", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("memory", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent", "conversation_id", name=op.f("pk_agent_states")),
    )
    op.create_table(
        "agent_status",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('available', 'unavailable', 'restarting', 'failed', 'paused')",
            name=op.f("ck_agent_status_status"),
        ),
        sa.PrimaryKeyConstraint("tenant", "agent", name=op.f("pk_agent_status")),
    )
    op.create_table(
        "agent_versions",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("definition", JSON_DOCUMENT, nullable=False),
        sa.Column("warnings", JSON_DOCUMENT, nullable=False),
        sa.Column("actor", JSON_DOCUMENT, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "name", "version", name=op.f("pk_agent_versions")),
    )
    op.create_table(
        "catalog_entries",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("from_number", sa.Integer(), nullable=False),
        sa.Column("until_number", sa.Integer(), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "name", "from_number", name=op.f("pk_catalog_entries")),
    )
    with op.batch_alter_table("catalog_entries", schema=None) as batch_op:
        batch_op.create_index(
            "ix_catalog_entries_numbers", ["tenant", "kind", "from_number", "until_number"], unique=False
        )

    op.create_table(
        "catalog_heads",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", name=op.f("pk_catalog_heads")),
    )
    op.create_table(
        "clarifications",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("root_run_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("options", JSON_DOCUMENT, nullable=False),
        sa.Column("schema", JSON_DOCUMENT, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("answer", JSON_DOCUMENT, nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("answered_by", sa.String(length=200), nullable=True),
        sa.Column("actor", JSON_DOCUMENT, nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("deadline", UtcDateTime(), nullable=True),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("consumed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('asked', 'answered', 'expired', 'cancelled')", name=op.f("ck_clarifications_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clarifications")),
        sa.UniqueConstraint("run_id", "key", name=op.f("uq_clarifications_run_id_key")),
    )
    with op.batch_alter_table("clarifications", schema=None) as batch_op:
        batch_op.create_index(
            "ix_clarifications_open",
            ["asked_at"],
            unique=False,
            sqlite_where=sa.text("status = 'asked'"),
            postgresql_where=sa.text("status = 'asked'"),
        )
        batch_op.create_index(batch_op.f("ix_clarifications_root_run_id"), ["root_run_id"], unique=False)

    op.create_table(
        "conversation_messages",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("conversation_id", sa.String(length=200), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent", "conversation_id", "n", name=op.f("pk_conversation_messages")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("queue", sa.String(length=200), nullable=False),
        sa.Column("topic", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("status IN ('kept', 'requeued', 'dropped')", name=op.f("ck_dead_letters_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_table(
        "dedupe_keys",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_dedupe_keys")),
    )
    with op.batch_alter_table("dedupe_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dedupe_keys_created_at"), ["created_at"], unique=False)

    op.create_table(
        "deliveries",
        sa.Column("seq", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("event_id", sa.String(length=32), nullable=True),
        sa.Column("clarification_id", sa.String(length=32), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("target", JSON_DOCUMENT, nullable=False),
        sa.Column("thread_key", sa.String(length=300), nullable=False),
        sa.Column("pace_key", sa.String(length=300), nullable=True),
        sa.Column("pace_until", UtcDateTime(), nullable=True),
        sa.Column("body", JSON_DOCUMENT, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", UtcDateTime(), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=True),
        sa.Column("client_msg_id", sa.String(length=64), nullable=True),
        sa.Column("sent_ts", sa.String(length=64), nullable=True),
        sa.Column("error", JSON_DOCUMENT, nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('planned', 'attempting', 'sent', 'unknown', 'failed')", name=op.f("ck_deliveries_status")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_deliveries_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(
            "ix_deliveries_open",
            ["next_try"],
            unique=False,
            sqlite_where=sa.text("status IN ('planned', 'attempting')"),
            postgresql_where=sa.text("status IN ('planned', 'attempting')"),
        )
        batch_op.create_index("ix_deliveries_pace", ["pace_key", "pace_until"], unique=False)
        batch_op.create_index("ix_deliveries_run", ["run_id"], unique=False)
        batch_op.create_index(
            "ix_deliveries_thread",
            ["thread_key", "seq"],
            unique=False,
            sqlite_where=sa.text("status IN ('planned', 'attempting')"),
            postgresql_where=sa.text("status IN ('planned', 'attempting')"),
        )
        batch_op.create_index("ix_deliveries_thread_key", ["thread_key"], unique=False)
        batch_op.create_index(
            "ix_deliveries_unplaced",
            ["seq"],
            unique=False,
            sqlite_where=sa.text("pace_key IS NULL"),
            postgresql_where=sa.text("pace_key IS NULL"),
        )

    op.create_table(
        "effects",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("context_no", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("tool", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("idempotent", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("status IN ('attempting', 'done', 'failed')", name=op.f("ck_effects_status")),
        sa.PrimaryKeyConstraint("run_id", "context_no", "key", name=op.f("pk_effects")),
    )
    op.create_table(
        "events",
        sa.Column("seq", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("event_type", sa.String(length=200), nullable=False),
        sa.Column("topic", sa.String(length=200), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("accepted_at", UtcDateTime(), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("causation_id", sa.String(length=32), nullable=True),
        sa.Column("conversation_id", sa.String(length=200), nullable=True),
        sa.Column("priority", sa.String(length=8), nullable=False),
        sa.Column("hops", sa.SmallInteger(), nullable=False),
        sa.Column("actor", JSON_DOCUMENT, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("routed_at", UtcDateTime(), nullable=True),
        sa.Column("matched", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_events_event_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_trace_id"), ["trace_id"], unique=False)
        batch_op.create_index(
            "ix_events_unrouted",
            ["seq"],
            unique=False,
            sqlite_where=sa.text("routed_at IS NULL"),
            postgresql_where=sa.text("routed_at IS NULL"),
        )

    op.create_table(
        "locks",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=True),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_locks")),
    )
    op.create_table(
        "occurrences",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("schedule_id", sa.String(length=200), nullable=False),
        sa.Column("nominal", UtcDateTime(), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("event_id", sa.String(length=32), nullable=True),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("phase IN ('queued', 'open', 'closed')", name=op.f("ck_occurrences_phase")),
        sa.CheckConstraint("status IN ('fired', 'skipped', 'missed', 'caught_up')", name=op.f("ck_occurrences_status")),
        sa.PrimaryKeyConstraint("tenant", "schedule_id", "nominal", name=op.f("pk_occurrences")),
    )
    with op.batch_alter_table("occurrences", schema=None) as batch_op:
        batch_op.create_index("ix_occurrences_agent", ["tenant", "agent", "nominal"], unique=False)
        batch_op.create_index(
            "ix_occurrences_unfinished",
            ["tenant", "schedule_id", "nominal"],
            unique=False,
            sqlite_where=sa.text("phase <> 'closed'"),
            postgresql_where=sa.text("phase <> 'closed'"),
        )

    op.create_table(
        "operations",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("actor", JSON_DOCUMENT, nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("object", sa.String(length=200), nullable=False),
        sa.Column("details", JSON_DOCUMENT, nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "order_keys",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_order_keys")),
    )
    op.create_table(
        "outbox",
        sa.Column("event_seq", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("next_try", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("event_seq", name=op.f("pk_outbox")),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outbox_next_try"), ["next_try"], unique=False)

    op.create_table(
        "plan_run_states",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_plan_run_states")),
    )
    op.create_table(
        "plans",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("graph", JSON_DOCUMENT, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_plans")),
    )
    op.create_table(
        "processes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("beat_at", UtcDateTime(), nullable=False),
        sa.Column("dead", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processes")),
    )
    op.create_table(
        "progress",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("data", JSON_DOCUMENT, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "n", name=op.f("pk_progress")),
    )
    op.create_table(
        "rejections",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("path", sa.String(length=1000), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("problems", JSON_DOCUMENT, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "path", name=op.f("pk_rejections")),
    )
    op.create_table(
        "run_io",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("input", sa.LargeBinary(), nullable=False),
        sa.Column("output", sa.LargeBinary(), nullable=True),
        sa.Column("error", JSON_DOCUMENT, nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_io")),
    )
    op.create_table(
        "run_messages",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("context_no", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "context_no", "n", name=op.f("pk_run_messages")),
    )
    op.create_table(
        "runs",
        sa.Column("seq", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("agent_version", sa.Integer(), nullable=False),
        sa.Column("catalog", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("available_at", UtcDateTime(), nullable=False),
        sa.Column("order_key", sa.String(length=300), nullable=True),
        sa.Column("key_seq", sa.BigInteger(), nullable=True),
        sa.Column("has_turn", sa.Boolean(), nullable=False),
        sa.Column("place_key", sa.String(length=300), nullable=True),
        sa.Column("places", sa.Integer(), nullable=True),
        sa.Column("has_place", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("context_no", sa.Integer(), nullable=False),
        sa.Column("lease_losses", sa.Integer(), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=True),
        sa.Column("claim_token", sa.String(length=32), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("conversation_id", sa.String(length=200), nullable=True),
        sa.Column("parent_run_id", sa.String(length=32), nullable=True),
        sa.Column("root_run_id", sa.String(length=32), nullable=True),
        sa.Column("step_id", sa.String(length=200), nullable=True),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.Column("hops", sa.SmallInteger(), nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=False),
        sa.Column("actor", JSON_DOCUMENT, nullable=False),
        sa.Column("reply_to", JSON_DOCUMENT, nullable=True),
        sa.Column("waiting_kind", sa.String(length=16), nullable=True),
        sa.Column("waiting_id", sa.String(length=32), nullable=True),
        sa.Column("waiting_since", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'timed_out')",
            name=op.f("ck_runs_status"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_runs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_runs_run_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("ix_runs_agent", ["tenant", "agent", "seq"], unique=False)
        batch_op.create_index(
            "ix_runs_claim",
            ["mode", "rank", "seq"],
            unique=False,
            sqlite_where=sa.text("status = 'queued' AND ready"),
            postgresql_where=sa.text("status = 'queued' AND ready"),
        )
        batch_op.create_index("ix_runs_event", ["event_id"], unique=False)
        batch_op.create_index(
            "ix_runs_order",
            ["tenant", "order_key", "key_seq"],
            unique=False,
            sqlite_where=sa.text("order_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
            postgresql_where=sa.text("order_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
        )
        batch_op.create_index(
            "ix_runs_owner",
            ["owner"],
            unique=False,
            sqlite_where=sa.text("status = 'running'"),
            postgresql_where=sa.text("status = 'running'"),
        )
        batch_op.create_index("ix_runs_parent", ["parent_run_id"], unique=False)
        batch_op.create_index(
            "ix_runs_place",
            ["tenant", "place_key", "seq"],
            unique=False,
            sqlite_where=sa.text("place_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
            postgresql_where=sa.text("place_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
        )
        batch_op.create_index("ix_runs_trace", ["trace_id"], unique=False)
        batch_op.create_index(
            "uq_runs_turn",
            ["tenant", "order_key"],
            unique=True,
            sqlite_where=sa.text("has_turn AND status IN ('queued', 'running', 'waiting')"),
            postgresql_where=sa.text("has_turn AND status IN ('queued', 'running', 'waiting')"),
        )

    op.create_table(
        "schedules",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("time_keys", sa.String(length=32), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("last_nominal", UtcDateTime(), nullable=True),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_schedules")),
    )


def downgrade() -> None:
    op.drop_table("schedules")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_runs_turn",
            sqlite_where=sa.text("has_turn AND status IN ('queued', 'running', 'waiting')"),
            postgresql_where=sa.text("has_turn AND status IN ('queued', 'running', 'waiting')"),
        )
        batch_op.drop_index("ix_runs_trace")
        batch_op.drop_index(
            "ix_runs_place",
            sqlite_where=sa.text("place_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
            postgresql_where=sa.text("place_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
        )
        batch_op.drop_index("ix_runs_parent")
        batch_op.drop_index(
            "ix_runs_owner", sqlite_where=sa.text("status = 'running'"), postgresql_where=sa.text("status = 'running'")
        )
        batch_op.drop_index(
            "ix_runs_order",
            sqlite_where=sa.text("order_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
            postgresql_where=sa.text("order_key IS NOT NULL AND status IN ('queued', 'running', 'waiting')"),
        )
        batch_op.drop_index("ix_runs_event")
        batch_op.drop_index(
            "ix_runs_claim",
            sqlite_where=sa.text("status = 'queued' AND ready"),
            postgresql_where=sa.text("status = 'queued' AND ready"),
        )
        batch_op.drop_index("ix_runs_agent")

    op.drop_table("runs")
    op.drop_table("run_messages")
    op.drop_table("run_io")
    op.drop_table("rejections")
    op.drop_table("progress")
    op.drop_table("processes")
    op.drop_table("plans")
    op.drop_table("plan_run_states")
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_outbox_next_try"))

    op.drop_table("outbox")
    op.drop_table("order_keys")
    op.drop_table("operations")
    with op.batch_alter_table("occurrences", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_occurrences_unfinished",
            sqlite_where=sa.text("phase <> 'closed'"),
            postgresql_where=sa.text("phase <> 'closed'"),
        )
        batch_op.drop_index("ix_occurrences_agent")

    op.drop_table("occurrences")
    op.drop_table("locks")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_events_unrouted",
            sqlite_where=sa.text("routed_at IS NULL"),
            postgresql_where=sa.text("routed_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_events_trace_id"))

    op.drop_table("events")
    op.drop_table("effects")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_deliveries_unplaced",
            sqlite_where=sa.text("pace_key IS NULL"),
            postgresql_where=sa.text("pace_key IS NULL"),
        )
        batch_op.drop_index("ix_deliveries_thread_key")
        batch_op.drop_index(
            "ix_deliveries_thread",
            sqlite_where=sa.text("status IN ('planned', 'attempting')"),
            postgresql_where=sa.text("status IN ('planned', 'attempting')"),
        )
        batch_op.drop_index("ix_deliveries_run")
        batch_op.drop_index("ix_deliveries_pace")
        batch_op.drop_index(
            "ix_deliveries_open",
            sqlite_where=sa.text("status IN ('planned', 'attempting')"),
            postgresql_where=sa.text("status IN ('planned', 'attempting')"),
        )

    op.drop_table("deliveries")
    with op.batch_alter_table("dedupe_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dedupe_keys_created_at"))

    op.drop_table("dedupe_keys")
    op.drop_table("dead_letters")
    op.drop_table("conversation_messages")
    with op.batch_alter_table("clarifications", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_clarifications_root_run_id"))
        batch_op.drop_index(
            "ix_clarifications_open",
            sqlite_where=sa.text("status = 'asked'"),
            postgresql_where=sa.text("status = 'asked'"),
        )

    op.drop_table("clarifications")
    op.drop_table("catalog_heads")
    with op.batch_alter_table("catalog_entries", schema=None) as batch_op:
        batch_op.drop_index("ix_catalog_entries_numbers")

    op.drop_table("catalog_entries")
    op.drop_table("agent_versions")
    op.drop_table("agent_status")
    op.drop_table("agent_states")
    op.drop_table("agent_beats")
