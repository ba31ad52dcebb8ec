"""why a lease fell through, to count by

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("leases", sa.Column("failure", sa.Text(), nullable=True))
    op.execute("UPDATE leases SET failure = 'lost' WHERE run_state = 'lost'")
    op.create_index("leases_created", "leases", ["created_at", "provider_id"])


def downgrade() -> None:
    op.drop_index("leases_created", table_name="leases")
    op.drop_column("leases", "failure")
