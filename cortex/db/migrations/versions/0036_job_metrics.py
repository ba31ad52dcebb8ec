"""what running jobs took of their machines, by day

Revision ID: 0036
Revises: 0035
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_metrics",
        # Short by its type: then no partition has a table for long values beside it.
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cpu", sa.REAL(), nullable=True),
        sa.Column("cpu_seconds", sa.Double(), nullable=True),
        sa.Column("memory", sa.BigInteger(), nullable=True),
        sa.Column("memory_peak", sa.BigInteger(), nullable=True),
        sa.Column("network_received", sa.BigInteger(), nullable=True),
        sa.Column("network_sent", sa.BigInteger(), nullable=True),
        sa.Column("disk_read", sa.BigInteger(), nullable=True),
        sa.Column("disk_written", sa.BigInteger(), nullable=True),
        sa.Column("gpu", sa.REAL(), nullable=True),
        sa.Column("gpu_memory", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "attempt", "created_at"),
        postgresql_partition_by="RANGE (created_at)",
    )


def downgrade() -> None:
    op.drop_table("job_metrics")
