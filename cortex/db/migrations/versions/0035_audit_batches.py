"""the audit log is sealed in batches, soon after its entries were written

Revision ID: 0035
Revises: 0034
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

# The seal of an entry behind nothing is the digest of it.
_FUNCTIONS = """
CREATE FUNCTION audit_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_pending (audit_id, digest) VALUES (NEW.id, audit_seal(NEW, ''));
    RETURN NULL;
END $$;

CREATE FUNCTION audit_keep_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit_chain WHERE audit_id = OLD.audit_id) THEN
        RAISE EXCEPTION 'an entry of the audit log is noted until it has its seal'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;

CREATE FUNCTION audit_seal_pending(most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    entry audit_log%ROWTYPE;
    last audit_chain%ROWTYPE;
    number bigint;
    before bytea;
    sealed integer := 0;
BEGIN
    -- Of those who write nobody waits for this. What was committed before it was got is seen below.
    PERFORM pg_advisory_xact_lock(7022364301927310188);
    SELECT * INTO last FROM audit_chain ORDER BY seq DESC LIMIT 1;
    number := coalesce(last.seq, 0);
    before := coalesce(last.hash, '');
    FOR entry IN
        SELECT a.* FROM audit_pending p JOIN audit_log a ON a.id = p.audit_id
        WHERE p.digest = audit_seal(a, '')
            AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = a.id)
        ORDER BY p.audit_id LIMIT most
    LOOP
        number := number + 1;
        before := audit_seal(entry, before);
        INSERT INTO audit_chain (seq, audit_id, hash) VALUES (number, entry.id, before);
        DELETE FROM audit_pending WHERE audit_id = entry.id;
        sealed := sealed + 1;
    END LOOP;
    RETURN sealed;
END $$;
"""

_TRIGGERS = """
CREATE TRIGGER audit_log_note AFTER INSERT ON audit_log
FOR EACH ROW EXECUTE FUNCTION audit_note();
CREATE TRIGGER audit_pending_keep BEFORE DELETE ON audit_pending
FOR EACH ROW EXECUTE FUNCTION audit_keep_note();
CREATE TRIGGER audit_pending_refuse BEFORE UPDATE OR TRUNCATE ON audit_pending
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""

# As 0016 has it.
_AT_COMMIT = """
CREATE FUNCTION audit_append() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last audit_chain%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(7022364301927310188);
    SELECT * INTO last FROM audit_chain ORDER BY seq DESC LIMIT 1;
    INSERT INTO audit_chain (seq, audit_id, hash) VALUES
        (coalesce(last.seq, 0) + 1, NEW.id, audit_seal(NEW, coalesce(last.hash, '')));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER audit_log_append AFTER INSERT ON audit_log
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_append()
"""


def upgrade() -> None:
    op.create_table(
        "audit_pending",
        sa.Column("audit_id", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
    )
    op.execute(_FUNCTIONS)
    op.execute("DROP TRIGGER audit_log_append ON audit_log")
    op.execute("DROP FUNCTION audit_append")
    op.execute(_TRIGGERS)


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_log_note ON audit_log")
    op.execute("SELECT audit_seal_pending(2147483647)")
    op.drop_table("audit_pending")
    op.execute("DROP FUNCTION audit_note, audit_keep_note, audit_seal_pending(integer)")
    op.execute(_AT_COMMIT)
