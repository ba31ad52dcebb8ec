"""notices to persons, and what they want to be told

Revision ID: 0038
Revises: 0037
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_TRUE = sa.text("true")
_TIME = sa.DateTime(timezone=True)
_TEXTS = postgresql.ARRAY(sa.Text())


def upgrade() -> None:
    op.create_table(
        "notice_preferences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=_TRUE, nullable=False),
        sa.Column("named", sa.Boolean(), server_default=_TRUE, nullable=False),
        sa.Column("own", _TEXTS, nullable=False),
        sa.Column("projects", _TEXTS, server_default="{}", nullable=False),
        sa.Column("email", sa.Boolean(), server_default=_TRUE, nullable=False),
        sa.Column("chat", sa.Text(), server_default="", nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("unsubscribe_hash", sa.Text(), nullable=False, unique=True),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "notices",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("see", sa.Text(), server_default="", nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("told_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("notices_once", "notices", ["person", "channel", "key"], unique=True)
    op.create_index(
        "notices_untold",
        "notices",
        ["person", "channel", "created_at"],
        postgresql_where=sa.text("told_at IS NULL"),
    )
    op.create_index(
        "notices_told", "notices", ["told_at"], postgresql_where=sa.text("told_at IS NOT NULL")
    )
    op.create_table(
        "notice_cursor",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tx", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="notice_cursor_one"),
        sa.PrimaryKeyConstraint("id"),
    )
    # What has happened until now is nobody told.
    op.execute(
        "INSERT INTO notice_cursor (id, tx, seq) SELECT 1, coalesce(max(tx), 0), "
        "coalesce((SELECT max(seq) FROM events), 0) FROM events"
    )


def downgrade() -> None:
    op.drop_table("notice_cursor")
    op.drop_table("notices")
    op.drop_table("notice_preferences")
