"""The relay is woken for commands that are due, and not for those that their writer delivers itself

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TRIGGER wake_listeners ON commands")
    op.execute(
        """
        CREATE TRIGGER wake_listeners AFTER INSERT ON commands
            FOR EACH ROW WHEN (NEW.due_at <= now()) EXECUTE FUNCTION wake_listeners()
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER wake_listeners ON commands")
    op.execute(
        """
        CREATE TRIGGER wake_listeners AFTER INSERT ON commands
            FOR EACH STATEMENT EXECUTE FUNCTION wake_listeners()
        """
    )
