"""what a settlement did at the network, step by step

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    steps = sa.Column(
        "settle_steps",
        postgresql.JSONB(astext_type=sa.Text()),
        server_default="[]",
        nullable=False,
    )
    op.add_column("leases", steps)


def downgrade() -> None:
    op.drop_column("leases", "settle_steps")
