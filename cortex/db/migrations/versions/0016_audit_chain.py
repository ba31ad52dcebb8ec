"""the audit log: more about each entry, only added to, and sealed into a chain

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_NEW = (("credential", ""), ("request_id", ""), ("outcome", "done"))

# The same array as `cortex.db.audit.CONTENT`, which checks it.
_FUNCTIONS = """
CREATE FUNCTION audit_seal(entry audit_log, before bytea) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(before || convert_to(jsonb_build_array(
        entry.id, (extract(epoch FROM entry.created_at) * 1000000)::bigint, entry.actor,
        entry.credential, entry.action, entry.subject, entry.source, entry.request_id,
        entry.outcome, entry.data
    )::text, 'UTF8'))
$$;

CREATE FUNCTION audit_append() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last audit_chain%ROWTYPE;
BEGIN
    -- Deferred to the commit, when every other lock is held already: nobody waits for another
    -- lock while holding this one. What was committed before it was got is seen below.
    PERFORM pg_advisory_xact_lock(7022364301927310188);
    SELECT * INTO last FROM audit_chain ORDER BY seq DESC LIMIT 1;
    INSERT INTO audit_chain (seq, audit_id, hash) VALUES
        (coalesce(last.seq, 0) + 1, NEW.id, audit_seal(NEW, coalesce(last.hash, '')));
    RETURN NULL;
END $$;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only added to'
        USING ERRCODE = 'insufficient_privilege';
END $$;
"""

_SEAL_WHAT_IS_THERE = """
DO $$
DECLARE
    entry audit_log%ROWTYPE;
    number bigint := 0;
    last bytea := '';
BEGIN
    FOR entry IN SELECT * FROM audit_log ORDER BY id LOOP
        number := number + 1;
        last := audit_seal(entry, last);
        INSERT INTO audit_chain (seq, audit_id, hash) VALUES (number, entry.id, last);
    END LOOP;
END $$
"""

_APPEND = """
CREATE CONSTRAINT TRIGGER audit_log_append AFTER INSERT ON audit_log
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_append()
"""

_REFUSE = """
CREATE TRIGGER {table}_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
"""


def upgrade() -> None:
    for name, default in _NEW:
        column = sa.Column(name, sa.Text(), server_default=default, nullable=False)
        op.add_column("audit_log", column)
    op.create_index("audit_actor", "audit_log", ["actor", "id"])
    op.create_table(
        "audit_chain",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit_log.id"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("audit_id"),
    )
    op.execute(_FUNCTIONS)
    op.execute(_SEAL_WHAT_IS_THERE)
    op.execute(_APPEND)
    for table in ("audit_log", "audit_chain"):
        op.execute(_REFUSE.format(table=table))


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_log_refuse ON audit_log")
    op.execute("DROP TRIGGER audit_log_append ON audit_log")
    op.drop_table("audit_chain")
    op.execute("DROP FUNCTION audit_refuse, audit_append, audit_seal(audit_log, bytea)")
    op.drop_index("audit_actor", "audit_log")
    for name, _ in _NEW:
        op.drop_column("audit_log", name)
