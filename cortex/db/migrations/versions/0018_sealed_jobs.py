"""which jobs have secrets, by the key that they are encrypted with

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX jobs_sealed ON jobs ((substring(secrets from 2 for get_byte(secrets, 0)))) "
        "WHERE secrets IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_index("jobs_sealed", "jobs")
