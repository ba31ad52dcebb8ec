"""when a job was last started anew; jobs by their name

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("restarted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("jobs_name_created", "jobs", ["name", "created_at"])


def downgrade() -> None:
    op.drop_index("jobs_name_created", "jobs")
    op.drop_column("jobs", "restarted_at")
