"""webhooks of a project, and who has said last where each leads

Revision ID: 0040
Revises: 0039
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Empty: its owner. Servers of the version before still make some meanwhile.
    op.add_column("webhooks", sa.Column("vouched_by", sa.Text(), nullable=True))
    op.create_index("webhooks_project", "webhooks", ["project", "id"])


def downgrade() -> None:
    # Before, its owner would have got them: events of others' jobs in no case.
    op.execute("UPDATE webhooks SET enabled = false WHERE project <> owner")
    op.drop_index("webhooks_project", "webhooks")
    op.drop_column("webhooks", "vouched_by")
