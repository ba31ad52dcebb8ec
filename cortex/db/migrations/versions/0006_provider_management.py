"""providers that the API manages, their health, prices and circuits

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXTS = postgresql.ARRAY(sa.Text())
_JSON = postgresql.JSONB(astext_type=sa.Text())
_TIME = sa.DateTime(timezone=True)


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("source", sa.Text(), server_default="settings", nullable=False),
        sa.Column("configured", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("secret_fields", _TEXTS, server_default="{}", nullable=False),
        sa.Column("rate_limit", sa.Double(), nullable=True),
        sa.Column("standing", _JSON, nullable=True),
        sa.Column("network", _JSON, nullable=True),
        sa.Column("checked_at", _TIME, nullable=True),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column("providers", column)
    op.create_check_constraint("providers_source", "providers", "source IN ('settings', 'api')")
    op.create_table(
        "provider_types",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("json_schema", _JSON, nullable=False),
        sa.Column("secret_fields", _TEXTS, server_default="{}", nullable=False),
        sa.Column("updated_at", _TIME, server_default=sa.text("now()"), nullable=False),
    )
    op.create_table(
        "provider_drafts",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("config", _JSON, nullable=True),
        sa.Column("credentials", sa.LargeBinary(), nullable=True),
        sa.Column("secret_fields", _TEXTS, server_default="{}", nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
    )
    op.create_table(
        "provider_circuits",
        sa.Column("provider_id", sa.Text(), primary_key=True),
        sa.Column("state", sa.Text(), server_default="closed", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trips", sa.Integer(), server_default="0", nullable=False),
        sa.Column("since", _TIME, nullable=True),
        sa.Column("probe_at", _TIME, nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
    )
    op.create_table(
        "provider_prices",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("prices", _JSON, nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
    )
    op.create_index("provider_prices_provider", "provider_prices", ["provider_id", "id"])
    op.execute(_WAKE)


# Workers wake when a provider is made, changed, switched or removed, and when a circuit moves.
# What a check of its health writes wakes nobody.
_WAKE = """
CREATE TRIGGER wake_listeners AFTER INSERT OR DELETE OR UPDATE OF version ON providers
    FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners();
CREATE TRIGGER wake_listeners AFTER INSERT OR UPDATE OR DELETE ON provider_circuits
    FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners();
"""


def downgrade() -> None:
    op.execute("DROP TRIGGER wake_listeners ON providers")
    for table in ("provider_prices", "provider_circuits", "provider_drafts", "provider_types"):
        op.drop_table(table)
    op.drop_constraint("providers_source", "providers")
    for column in reversed(_columns()):
        op.drop_column("providers", column.name)
