"""plugins, the subscribers among them and their cursors, the events that they did not take

Revision ID: 0005
Revises: 0004_job_frames
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004_job_frames"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    _plugins()
    _subscribers()
    op.create_table(
        "skipped_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("subscriber", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("skipped_events_subscriber", "skipped_events", ["subscriber", "id"])


def downgrade() -> None:
    op.drop_table("skipped_events")
    op.drop_table("event_subscribers")
    op.drop_table("plugins")


def _plugins() -> None:
    texts = postgresql.ARRAY(sa.Text())
    op.create_table(
        "plugins",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("package", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("strategies", texts, server_default="{}", nullable=False),
        sa.Column("channels", texts, server_default="{}", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _subscribers() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "event_subscribers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("claimed_until", time, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_at", time, nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("delivered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("delivered_at", time, nullable=True),
        sa.Column("created_at", time, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
