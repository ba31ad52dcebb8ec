"""when the results of a lease were all fetched

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("leases", sa.Column("collected_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("leases", "collected_at")
