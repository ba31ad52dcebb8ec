"""what a lease costs so far in USD, quick sums of bills, reserves that end with their job

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("leases", sa.Column("usage_usd", sa.Numeric(38, 18)))
    op.add_column(
        "leases",
        sa.Column("usage_estimated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(
        "ledger_charges",
        "ledger",
        ["created_at"],
        postgresql_include=["job_id", "amount", "usd_rate"],
        postgresql_where=sa.text("kind = 'charge'"),
    )
    op.execute(_RESERVE_ENDS)


# Whoever ends a job, and by whatever way: nothing stays set aside for it.
_RESERVE_ENDS = """
CREATE FUNCTION release_job_reserve() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job_reserves SET released_at = now() WHERE job_id = NEW.id AND released_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER release_job_reserve AFTER UPDATE OF state ON jobs
    FOR EACH ROW
    WHEN (NEW.state IN ('completed', 'failed', 'cancelled') AND OLD.state <> NEW.state)
    EXECUTE FUNCTION release_job_reserve();
"""


def downgrade() -> None:
    op.execute("DROP TRIGGER release_job_reserve ON jobs")
    op.execute("DROP FUNCTION release_job_reserve")
    op.drop_index("ledger_charges", "ledger")
    op.drop_column("leases", "usage_estimated")
    op.drop_column("leases", "usage_usd")
