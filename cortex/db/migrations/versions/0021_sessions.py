"""sessions with refresh tokens, and the keys that sign access tokens

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# What decides whom an access token lets in; that it was refreshed does not.
_WAKE = (
    "CREATE TRIGGER wake_listeners AFTER UPDATE OF ended_at OR DELETE ON sessions "
    "FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners()"
)


def upgrade() -> None:
    now = sa.text("now()")
    time = sa.DateTime(timezone=True)
    op.add_column("users", sa.Column("password_changed_at", time, nullable=True))
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("user_id", sa.Text(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at", time, server_default=now, nullable=False),
        sa.Column("last_used_at", time, server_default=now, nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("client", sa.Text(), server_default="", nullable=False),
        sa.Column("expires_at", time, nullable=False),
        sa.Column("longest_until", time, nullable=False),
        sa.Column("ended_at", time, nullable=True),
        sa.Column("ended_why", sa.Text(), server_default="", nullable=False),
    )
    op.create_index("sessions_user", "sessions", ["user_id", "id"])
    op.create_index("sessions_expiry", "sessions", ["expires_at"])
    op.execute(_WAKE)
    op.create_table(
        "refresh_tokens",
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column(
            "session_id",
            sa.Text(),
            sa.ForeignKey("sessions.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("created_at", time, server_default=now, nullable=False),
        sa.Column("expires_at", time, nullable=False),
        sa.Column("used_at", time, nullable=True),
        sa.Column("nonce", sa.LargeBinary(), nullable=True),
    )
    op.create_index("refresh_tokens_session", "refresh_tokens", ["session_id"])
    op.create_index("refresh_tokens_expiry", "refresh_tokens", ["expires_at"])
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("public", postgresql.JSONB(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", time, server_default=now, nullable=False),
        sa.Column("retired_at", time, nullable=True),
    )


def downgrade() -> None:
    for table in ("signing_keys", "refresh_tokens", "sessions"):
        op.drop_table(table)
    op.drop_column("users", "password_changed_at")
