"""budgets of API keys, and the key with a budget of each job and schedule

Revision ID: 0034
Revises: 0033
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_SCOPES = "scope IN ('system', 'user', 'project', 'label'{})"
_MADE_WITH = ("jobs", "schedules")


def upgrade() -> None:
    _limit_scopes(", 'key'")
    op.alter_column("budgets", "period", nullable=True)
    op.create_check_constraint("budgets_in_all", "budgets", "(period IS NULL) = (scope = 'key')")
    of_key = sa.text("scope = 'key'")
    op.create_index("budgets_key", "budgets", ["scope_value"], unique=True, postgresql_where=of_key)
    for table in _MADE_WITH:
        op.add_column(table, sa.Column("api_key", sa.Text(), nullable=True))
    known = sa.text("api_key IS NOT NULL")
    op.create_index("jobs_api_key", "jobs", ["api_key"], postgresql_where=known)


def downgrade() -> None:
    op.drop_index("jobs_api_key", "jobs")
    for table in _MADE_WITH:
        op.drop_column(table, "api_key")
    op.execute("DELETE FROM budgets WHERE scope = 'key'")
    op.drop_index("budgets_key", "budgets")
    op.drop_constraint("budgets_in_all", "budgets")
    op.alter_column("budgets", "period", nullable=False)
    _limit_scopes("")


def _limit_scopes(more: str) -> None:
    op.drop_constraint("budgets_scope", "budgets")
    op.create_check_constraint("budgets_scope", "budgets", _SCOPES.format(more))
