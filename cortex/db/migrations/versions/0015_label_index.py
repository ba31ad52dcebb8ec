"""jobs by a label: an index of key and value together

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("jobs_labels", "jobs")
    op.create_index(
        "jobs_labels",
        "jobs",
        ["labels"],
        postgresql_using="gin",
        postgresql_ops={"labels": "jsonb_path_ops"},
    )


def downgrade() -> None:
    op.drop_index("jobs_labels", "jobs")
    op.create_index("jobs_labels", "jobs", ["labels"], postgresql_using="gin")
