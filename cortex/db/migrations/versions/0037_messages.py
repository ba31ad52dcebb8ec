"""addresses of users, and messages to single persons

Revision ID: 0037
Revises: 0036
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("email", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("due_at", _TIME, server_default=_NOW, nullable=True),
        sa.Column("give_up_at", _TIME, nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.CheckConstraint("state IN ('pending', 'sent', 'dead')", name="messages_state"),
        sa.CheckConstraint("(state = 'pending') = (sealed IS NOT NULL)", name="messages_sealed"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "messages_due", "messages", ["due_at"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index("messages_recipient", "messages", ["recipient", "channel", "created_at"])
    op.create_index(
        "messages_ended", "messages", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL")
    )
    op.execute(
        "CREATE TRIGGER wake_listeners AFTER INSERT ON messages "
        "FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners()"
    )


def downgrade() -> None:
    op.drop_table("messages")
    op.drop_column("users", "email")
