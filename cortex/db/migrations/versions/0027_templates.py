"""templates with their versions, and from which one a job or group was made

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_TIME = sa.DateTime(timezone=True)
_MADE = ("jobs", "job_groups")


def upgrade() -> None:
    op.drop_table("job_templates")  # never used
    op.create_table(
        "templates",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.CheckConstraint("kind IN ('job', 'group')", name="templates_kind"),
    )
    op.create_index("templates_name", "templates", ["project", "name"], unique=True)
    op.create_table(
        "template_versions",
        sa.Column(
            "template_id",
            sa.Text(),
            sa.ForeignKey("templates.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("parameters", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("spec", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
    )
    for table in _MADE:
        op.add_column(table, sa.Column("template", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    for table in _MADE:
        op.drop_column(table, "template")
    op.drop_table("template_versions")
    op.drop_table("templates")
    op.create_table(
        "job_templates",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
    )
    op.create_index("job_templates_name", "job_templates", ["owner", "name"], unique=True)
