"""programs that wait for their user to log in with a browser

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "device_logins",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("device", sa.Text(), nullable=False, unique=True),
        sa.Column("code", sa.Text(), nullable=False, unique=True),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("interval", sa.Double(), nullable=False),
        sa.Column("asked_at", time, nullable=True),
        sa.Column("user_id", sa.Text(), sa.ForeignKey("users.id"), nullable=True),
        sa.Column("via", sa.Text(), server_default="", nullable=False),
        sa.Column("browser", sa.Text(), nullable=True),
        sa.Column("created_at", time, server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", time, nullable=False),
    )
    for column in ("source", "expires_at"):
        op.create_index(f"ix_device_logins_{column}", "device_logins", [column])


def downgrade() -> None:
    op.drop_table("device_logins")
