"""groups, budgets, reserves, findings, and what the explorer shows of a lease

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())
_TIME = sa.DateTime(timezone=True)
_MONEY = sa.Numeric(38, 18)
_OPEN = "closed_at IS NULL"


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, _TIME, server_default=sa.text("now()"), nullable=False)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def _added() -> dict[str, list[sa.Column[object]]]:
    return {
        "jobs": [
            sa.Column("member", sa.Text()),
            sa.Column("gang", sa.Integer()),
            sa.Column("held", sa.Boolean(), server_default=sa.text("false"), nullable=False),
            _number("losses"),
            _number("failures"),
            sa.Column("warned_at", _TIME),
        ],
        "leases": [
            sa.Column("reserved_at", _TIME),
            sa.Column("releasing_at", _TIME),
            sa.Column("unknown_since", _TIME),
            _text("unknown_reason"),
            sa.Column("usage_amount", _MONEY),
            sa.Column("usage_currency", sa.Text()),
            sa.Column("usage_at", _TIME),
            sa.Column("resolution", _JSON),
        ],
        "job_groups": [
            sa.Column("reason", sa.Text()),
            _text("message"),
            sa.Column("labels", _JSON, server_default="{}", nullable=False),
            sa.Column("cancel_requested_at", _TIME),
            _text("cancel_reason"),
            _now("updated_at"),
        ],
        "budgets": [
            _text("name"),
            sa.Column("usd_rate", _MONEY, server_default="1", nullable=False),
            sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
            _now("updated_at"),
        ],
    }


_CHECKS = {
    "budgets_scope": "scope IN ('system', 'user', 'label')",
    "budgets_period": "period IN ('day', 'week', 'month')",
    "budgets_action": "action IN ('alert', 'stop')",
}


def upgrade() -> None:
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    for name, rule in _CHECKS.items():
        op.create_check_constraint(name, "budgets", rule)
    grouped = sa.text("group_id IS NOT NULL")
    op.create_index("jobs_group", "jobs", ["group_id", "id"], postgresql_where=grouped)
    op.create_index("job_groups_created", "job_groups", ["created_at", "id"])
    op.create_index("job_groups_state_created", "job_groups", ["state", "created_at"])
    _group_tables()
    _money_tables()
    _commands()
    op.create_table(
        "reconcile_findings",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("provider_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        _text("message"),
        sa.Column("data", _JSON, server_default="{}", nullable=False),
        _now("first_seen_at"),
        _now("last_seen_at"),
        sa.Column("closed_at", _TIME),
    )
    op.create_index(
        "reconcile_findings_open",
        "reconcile_findings",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text(_OPEN),
    )
    op.create_index("reconcile_findings_seen", "reconcile_findings", ["first_seen_at", "id"])


def _group_tables() -> None:
    op.create_table(
        "job_gangs",
        sa.Column(
            "group_id",
            sa.Text(),
            sa.ForeignKey("job_groups.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("gang", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("decision", sa.Text()),
        _text("reason"),
        sa.Column("started_at", _TIME),
        sa.Column("deadline_at", _TIME),
        sa.Column("decided_at", _TIME),
        sa.CheckConstraint("decision IN ('committed', 'aborted')", name="job_gangs_decision"),
    )
    op.create_table("job_needs", *(_job_key(name) for name in ("job_id", "needs_job_id")))
    op.create_index("job_needs_needed", "job_needs", ["needs_job_id"])


def _job_key(name: str) -> sa.Column[object]:
    key = sa.ForeignKey("jobs.id", ondelete="CASCADE")
    return sa.Column(name, sa.Text(), key, primary_key=True)


def _money_tables() -> None:
    key = sa.ForeignKey("budgets.id", ondelete="CASCADE")
    op.create_table(
        "budget_alerts",
        sa.Column("budget_id", sa.Text(), key, primary_key=True),
        sa.Column("period_start", _TIME, primary_key=True),
        sa.Column("threshold", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("spent", _MONEY, nullable=False),
        _now("created_at"),
    )
    op.create_table(
        "job_reserves",
        _job_key("job_id"),
        sa.Column("usd", _MONEY, nullable=False),
        _now("created_at"),
        sa.Column("released_at", _TIME),
    )
    still = sa.text("released_at IS NULL")
    op.create_index("job_reserves_open", "job_reserves", ["job_id"], postgresql_where=still)


def _commands() -> None:
    op.alter_column("commands", "job_id", nullable=True)
    op.add_column("commands", sa.Column("group_id", sa.Text(), sa.ForeignKey("job_groups.id")))
    op.drop_constraint("commands_kind", "commands")
    op.create_check_constraint(
        "commands_kind",
        "commands",
        "kind IN ('start', 'cancel', 'extend', 'start_group', 'nudge')",
    )
    op.create_check_constraint("commands_subject", "commands", "num_nonnulls(job_id, group_id) = 1")
    op.create_index("commands_group", "commands", ["group_id", "id"])


def downgrade() -> None:
    op.execute("DELETE FROM commands WHERE kind IN ('start_group', 'nudge')")
    op.drop_index("commands_group", "commands")
    op.drop_constraint("commands_subject", "commands")
    op.drop_constraint("commands_kind", "commands")
    op.create_check_constraint("commands_kind", "commands", "kind IN ('start', 'cancel', 'extend')")
    op.drop_column("commands", "group_id")
    op.alter_column("commands", "job_id", nullable=False)
    for table in ("reconcile_findings", "job_reserves", "budget_alerts", "job_needs", "job_gangs"):
        op.drop_table(table)
    op.drop_index("job_groups_state_created", "job_groups")
    op.drop_index("job_groups_created", "job_groups")
    op.drop_index("jobs_group", "jobs")
    for name in _CHECKS:
        op.drop_constraint(name, "budgets")
    for table, columns in _added().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)
