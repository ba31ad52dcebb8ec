"""saved filters of lists of jobs

Revision ID: 0033
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "saved_filters",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("jobs", postgresql.JSONB(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    )
    for name, column, where in (
        ("saved_filters_own", "owner", "project IS NULL"),
        ("saved_filters_shared", "project", "project IS NOT NULL"),
    ):
        op.create_index(
            name, "saved_filters", [column, "name"], unique=True, postgresql_where=sa.text(where)
        )


def downgrade() -> None:
    op.drop_table("saved_filters")
