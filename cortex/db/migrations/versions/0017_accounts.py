"""users of two kinds, and what is known of their API keys

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# What decides whom a key lets in; when it was used last does not.
_WAKE = (
    "CREATE TRIGGER wake_listeners AFTER UPDATE OF role, active OR DELETE ON users "
    "FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners()",
    "CREATE TRIGGER wake_listeners AFTER UPDATE OF scopes, expires_at, revoked_at OR DELETE "
    "ON api_keys FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners()",
)


def upgrade() -> None:
    now = sa.text("now()")
    time = sa.DateTime(timezone=True)
    op.add_column("users", sa.Column("kind", sa.Text(), server_default="person", nullable=False))
    op.add_column("users", sa.Column("updated_at", time, server_default=now, nullable=False))
    for name in ("name", "created_by", "last_used_from"):
        op.add_column("api_keys", sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.add_column("api_keys", sa.Column("last_used_at", time, nullable=True))
    op.create_index("api_keys_user", "api_keys", ["user_id", "id"])
    for statement in _WAKE:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER wake_listeners ON api_keys")
    op.execute("DROP TRIGGER wake_listeners ON users")
    op.drop_index("api_keys_user", "api_keys")
    for name in ("last_used_at", "last_used_from", "created_by", "name"):
        op.drop_column("api_keys", name)
    for name in ("updated_at", "kind"):
        op.drop_column("users", name)
