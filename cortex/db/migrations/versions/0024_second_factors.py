"""second factors: secrets of apps, and recovery codes

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "totp_seeds",
        sa.Column("id", sa.Text(), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", time, server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", time, nullable=True),
        sa.Column("last_step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.Text(), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column("used_at", time, nullable=True),
    )


def downgrade() -> None:
    op.drop_table("recovery_codes")
    op.drop_table("totp_seeds")
