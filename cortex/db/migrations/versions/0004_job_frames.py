"""the frames of render jobs

Revision ID: 0004_job_frames
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004_job_frames"
down_revision = "0003"
branch_labels = None
depends_on = None

_AMOUNT = sa.Numeric(precision=38, scale=18)


def upgrade() -> None:
    op.create_table(
        "job_frames",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("frame", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("lease_key", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("earlier_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cost", _AMOUNT, nullable=True),
        sa.Column("earlier_cost", _AMOUNT, nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("seconds", _AMOUNT, nullable=True),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "frame"),
        sa.CheckConstraint(
            "state IN ('queued', 'rendering', 'done', 'failed')", name="job_frames_state"
        ),
    )


def downgrade() -> None:
    op.drop_table("job_frames")
