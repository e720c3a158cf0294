"""what the distributed form needs: the router's row, and storage and an index that fit how PostgreSQL's tables are used

Adds nothing that a process of the release before would miss or trip over.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ENCODED = {
    "events": ["payload"],
    "run_io": ["input", "output"],
    "run_messages": ["message"],
    "effects": ["result"],
    "agent_states": ["memory"],
    "conversation_messages": ["message"],
    "plan_run_states": ["state"],
    "dead_letters": ["body"],
}
"""Compressed by the codec where it pays: PostgreSQL must not try once more."""

BUSY = ("events", "outbox", "runs", "run_io", "progress", "deliveries", "order_keys", "processes", "locks")
"""Tables whose rows are short-lived or change all the time: cleaned, and looked at by the planner, early."""
UPDATED = ("runs", "run_io", "order_keys", "processes", "locks")
"""Room on each page for the next version of a row."""


def upgrade() -> None:
    op.drop_index("ix_runs_parent", "runs")
    op.execute("CREATE INDEX ix_runs_parent ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL")
    op.execute("INSERT INTO locks (name) VALUES ('router') ON CONFLICT (name) DO NOTHING")
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in ENCODED.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
    for table in BUSY:
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500, "
            f"autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 500, "
            f"autovacuum_vacuum_cost_delay = 0)"
        )
    for table in UPDATED:
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 70)")


def downgrade() -> None:
    op.drop_index("ix_runs_parent", "runs")
    op.create_index("ix_runs_parent", "runs", ["parent_run_id"])
    op.execute("DELETE FROM locks WHERE name = 'router'")
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in ENCODED.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTENDED")
    for table in BUSY:
        op.execute(
            f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, "
            f"autovacuum_analyze_scale_factor, autovacuum_analyze_threshold, autovacuum_vacuum_cost_delay)"
        )
    for table in UPDATED:
        op.execute(f"ALTER TABLE {table} RESET (fillfactor)")
