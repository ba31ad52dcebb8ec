"""whom other services know, and logins by them that are under way

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.text("now()")
    time = sa.DateTime(timezone=True)
    op.create_table(
        "identities",
        sa.Column("issuer", sa.Text(), primary_key=True),
        sa.Column("subject", sa.Text(), primary_key=True),
        sa.Column("user_id", sa.Text(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("created_at", time, server_default=now, nullable=False),
        sa.Column("last_login_at", time, server_default=now, nullable=False),
    )
    for column in ("user_id", "email"):
        op.create_index(f"ix_identities_{column}", "identities", [column])
    op.create_table(
        "sso_logins",
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("browser", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("created_at", time, server_default=now, nullable=False),
        sa.Column("expires_at", time, nullable=False),
    )
    for column in ("source", "expires_at"):
        op.create_index(f"ix_sso_logins_{column}", "sso_logins", [column])


def downgrade() -> None:
    op.drop_table("sso_logins")
    op.drop_table("identities")
