"""empty folders, raw names and what is left out, among the outputs of jobs

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "job_outputs", sa.Column("kind", sa.Text(), server_default="file", nullable=False)
    )
    op.add_column("job_outputs", sa.Column("raw", sa.LargeBinary(), nullable=True))
    op.add_column("job_outputs", sa.Column("reason", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.execute("DELETE FROM job_outputs WHERE kind <> 'file'")
    for name in ("reason", "raw", "kind"):
        op.drop_column("job_outputs", name)
