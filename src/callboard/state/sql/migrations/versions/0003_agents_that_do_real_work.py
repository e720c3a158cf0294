"""agents that do real work: artifacts, memories, what was spent and is reserved, states of providers, pinned tools

Every new column may be empty, so that a process of the release before goes on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from callboard.state.models import UtcDateTime

JSON_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PAUSING = sa.text("status = 'waiting' AND waiting_kind IN ('budget', 'provider')")
ENCODED = {"artifacts": "body", "memories": "value"}
"""Compressed already, or by the codec: PostgreSQL must not try once more."""
CLARIFICATION_COLUMNS = (
    "purpose",
    "details",
    "digest",
    "may_answer",
    "requester",
    "on_deadline",
    "default_answer",
    "escalate_to",
    "escalated_at",
    "remind_seconds",
    "next_reminder",
)
RUN_COLUMNS = ("cost_estimated", "reserved", "dry", "origin_run_id", "variant", "tainted")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("media_type", sa.String(length=200), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("run_id", "digest", name=op.f("uq_artifacts_run_id_digest")),
    )
    op.create_table(
        "mcp_tools",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("server", sa.String(length=200), nullable=False),
        sa.Column("tool", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("offered_digest", sa.String(length=64), nullable=True),
        sa.Column("offered", sa.Text(), nullable=True),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("approved_by", sa.String(length=200), nullable=True),
        sa.Column("approved_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "agent", "server", "tool", name=op.f("pk_mcp_tools")),
    )
    op.create_table(
        "memories",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("source", JSON_DOCUMENT, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent", "scope", "key", name=op.f("pk_memories")),
    )
    op.create_table(
        "plan_revisions",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("graph", JSON_DOCUMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "revision", name=op.f("pk_plan_revisions")),
    )
    op.create_table(
        "provider_states",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", UtcDateTime(), nullable=True),
        sa.Column("probe_until", UtcDateTime(), nullable=True),
        sa.Column("cooldown_until", UtcDateTime(), nullable=True),
        sa.Column("allowance", sa.Float(), nullable=True),
        sa.Column("refilled_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("pk_provider_states")),
    )
    op.create_table(
        "reservations",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("call", sa.Integer(), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "scope", "name", "day", "run_id", "fencing", "call", name=op.f("pk_reservations")
        ),
    )
    op.create_index("ix_reservations_run", "reservations", ["run_id"])
    op.create_table(
        "spending",
        sa.Column("tenant", sa.String(length=200), server_default="default", nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.Column("estimated_usd", sa.Float(), nullable=False),
        sa.Column("raised_usd", sa.Float(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("model_calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "scope", "name", "day", name=op.f("pk_spending")),
    )
    op.add_column("clarifications", sa.Column("purpose", sa.String(length=16), nullable=True))
    op.add_column("clarifications", sa.Column("details", JSON_DOCUMENT, nullable=True))
    op.add_column("clarifications", sa.Column("digest", sa.String(length=64), nullable=True))
    op.add_column("clarifications", sa.Column("may_answer", JSON_DOCUMENT, nullable=True))
    op.add_column("clarifications", sa.Column("requester", sa.String(length=200), nullable=True))
    op.add_column("clarifications", sa.Column("on_deadline", sa.String(length=16), nullable=True))
    op.add_column("clarifications", sa.Column("default_answer", JSON_DOCUMENT, nullable=True))
    op.add_column("clarifications", sa.Column("escalate_to", sa.String(length=200), nullable=True))
    op.add_column("clarifications", sa.Column("escalated_at", UtcDateTime(), nullable=True))
    op.add_column("clarifications", sa.Column("remind_seconds", sa.Float(), nullable=True))
    op.add_column("clarifications", sa.Column("next_reminder", UtcDateTime(), nullable=True))
    op.add_column("runs", sa.Column("cost_estimated", sa.Boolean(), nullable=True))
    op.add_column("runs", sa.Column("reserved", sa.Boolean(), nullable=True))
    op.add_column("runs", sa.Column("dry", sa.Boolean(), nullable=True))
    op.add_column("runs", sa.Column("origin_run_id", sa.String(length=32), nullable=True))
    op.add_column("runs", sa.Column("variant", JSON_DOCUMENT, nullable=True))
    op.add_column("runs", sa.Column("tainted", sa.Boolean(), nullable=True))
    op.create_index("ix_runs_pausing", "runs", ["available_at"], sqlite_where=PAUSING, postgresql_where=PAUSING)
    if op.get_bind().dialect.name == "postgresql":
        for table, column in ENCODED.items():
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_index("ix_runs_pausing", "runs")
    for column in RUN_COLUMNS:
        op.drop_column("runs", column)
    for column in CLARIFICATION_COLUMNS:
        op.drop_column("clarifications", column)
    for table in (
        "spending",
        "reservations",
        "provider_states",
        "plan_revisions",
        "memories",
        "mcp_tools",
        "artifacts",
    ):
        op.drop_table(table)
