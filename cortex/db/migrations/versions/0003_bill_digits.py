"""as many digits as networks bill with: GLM has 18 decimals

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("jobs", "cost"),
    ("leases", "cost"),
    ("ledger", "amount"),
    ("ledger", "usd_rate"),
    ("budgets", "amount"),
)


def upgrade() -> None:
    _retype(precision=38, scale=18)


def downgrade() -> None:
    _retype(precision=28, scale=9)


def _retype(*, precision: int, scale: int) -> None:
    for table, column in _COLUMNS:
        op.alter_column(table, column, type_=sa.Numeric(precision=precision, scale=scale))
