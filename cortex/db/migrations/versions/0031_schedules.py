"""schedules with their runs, and the commands that tell Temporal of them

Revision ID: 0031
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_TIME = sa.DateTime(timezone=True)
_KINDS = "kind IN ('start', 'cancel', 'extend', 'start_group', 'nudge'{})"
_SUBJECT = "num_nonnulls(job_id, group_id{}) = 1"


def upgrade() -> None:
    op.drop_table("job_schedules")  # never used
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("catchup", sa.Interval(), nullable=False),
        sa.Column("jitter", sa.Interval(), nullable=False),
        sa.Column("start_at", _TIME, nullable=True),
        sa.Column("end_at", _TIME, nullable=True),
        sa.Column("template_id", sa.Text(), nullable=True),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("template_version", sa.Integer(), nullable=True),
        sa.Column("params", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("overrides", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("job", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("pause_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("told_revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("backfills", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.CheckConstraint("num_nonnulls(template_id, job) = 1", name="schedules_what"),
    )
    op.create_index("schedules_name", "schedules", ["project", "name"], unique=True)
    op.create_table(
        "schedule_runs",
        sa.Column(
            "schedule_id",
            sa.Text(),
            sa.ForeignKey("schedules.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("due_at", _TIME, primary_key=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'submitted', 'skipped', 'refused')", name="schedule_runs_state"
        ),
        sa.CheckConstraint("(made IS NULL) = (state <> 'submitted')", name="schedule_runs_made"),
    )
    # No foreign key: Temporal is told of one that is gone, too.
    op.add_column("commands", sa.Column("schedule_id", sa.Text(), nullable=True))
    _limit(", 'schedule', 'backfill'", ", schedule_id")


def downgrade() -> None:
    op.execute("DELETE FROM commands WHERE schedule_id IS NOT NULL")
    _limit("", "")
    op.drop_column("commands", "schedule_id")
    op.drop_table("schedule_runs")
    op.drop_table("schedules")
    op.create_table(
        "job_schedules",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
    )


def _limit(kinds: str, subjects: str) -> None:
    op.drop_constraint("commands_kind", "commands")
    op.create_check_constraint("commands_kind", "commands", _KINDS.format(kinds))
    op.drop_constraint("commands_subject", "commands")
    op.create_check_constraint("commands_subject", "commands", _SUBJECT.format(subjects))
