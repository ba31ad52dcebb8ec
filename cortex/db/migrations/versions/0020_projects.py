"""projects with their members, and the project of each job, group and API key

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_OWNED = ("jobs", "job_groups")
_SCOPES = "scope IN ('system', 'user', {}'label')"


def upgrade() -> None:
    now = sa.text("now()")
    time = sa.DateTime(timezone=True)
    op.create_table(
        "projects",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", time, server_default=now, nullable=False),
        sa.Column("created_by", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", time, server_default=now, nullable=False),
        sa.Column("archived_at", time, nullable=True),
    )
    op.create_table(
        "project_members",
        sa.Column("project", sa.Text(), sa.ForeignKey("projects.name"), primary_key=True),
        sa.Column("member", sa.Text(), primary_key=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("added_at", time, server_default=now, nullable=False),
        sa.Column("added_by", sa.Text(), server_default="", nullable=False),
    )
    op.create_index("project_members_member", "project_members", ["member"])
    op.execute(
        "CREATE TRIGGER wake_listeners AFTER INSERT OR UPDATE OR DELETE ON project_members "
        "FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners()"
    )
    for table in _OWNED:
        op.add_column(table, sa.Column("project", sa.Text(), server_default="", nullable=False))
        op.execute(f"UPDATE {table} SET project = owner")
        op.create_index(f"{table}_project_created", table, ["project", "created_at"])
    op.add_column("api_keys", sa.Column("project", sa.Text(), nullable=True))
    _limit_scopes("'project', ")


def downgrade() -> None:
    op.execute("DELETE FROM budgets WHERE scope = 'project'")
    _limit_scopes("")
    op.drop_column("api_keys", "project")
    for table in _OWNED:
        op.drop_index(f"{table}_project_created", table)
        op.drop_column(table, "project")
    op.drop_table("project_members")
    op.drop_table("projects")


def _limit_scopes(more: str) -> None:
    op.drop_constraint("budgets_scope", "budgets")
    op.create_check_constraint("budgets_scope", "budgets", _SCOPES.format(more))
