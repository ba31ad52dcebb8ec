"""only the next seal gets into the chain of the audit log, only a note of an entry is one

Revision ID: 0039
Revises: 0038
"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

_FUNCTIONS = """
CREATE FUNCTION audit_check_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last audit_chain%ROWTYPE;
BEGIN
    -- The lock of `audit_seal_pending`, which holds it already.
    PERFORM pg_advisory_xact_lock(7022364301927310188);
    SELECT * INTO last FROM audit_chain ORDER BY seq DESC LIMIT 1;
    -- Less one instead of plus one: the last number may be the greatest there is.
    IF NEW.seq < 1 OR NEW.seq - 1 <> coalesce(last.seq, 0) OR NOT EXISTS (
        SELECT FROM audit_log a JOIN audit_pending p ON p.audit_id = a.id
        WHERE a.id = NEW.audit_id AND p.digest = audit_seal(a, '')
            AND NEW.hash = audit_seal(a, coalesce(last.hash, ''))
    ) THEN
        RAISE EXCEPTION 'only the next seal, of an entry that waits for it, gets into the chain'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION audit_drop_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM audit_pending WHERE audit_id = NEW.audit_id;
    RETURN NULL;
END $$;

CREATE FUNCTION audit_check_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM audit_chain WHERE audit_id = NEW.audit_id) OR NOT EXISTS (
        SELECT FROM audit_log a WHERE a.id = NEW.audit_id AND NEW.digest = audit_seal(a, '')
    ) THEN
        RAISE EXCEPTION 'only an entry of the audit log is noted, as it is, until it is sealed'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
"""

_TRIGGERS = """
CREATE TRIGGER audit_chain_check BEFORE INSERT ON audit_chain
FOR EACH ROW EXECUTE FUNCTION audit_check_seal();
CREATE TRIGGER audit_chain_note AFTER INSERT ON audit_chain
FOR EACH ROW EXECUTE FUNCTION audit_drop_note();
CREATE TRIGGER audit_pending_check BEFORE INSERT ON audit_pending
FOR EACH ROW EXECUTE FUNCTION audit_check_note();
"""

# What cannot be read would stop every reading of the log.
_CHECKS = (
    ("audit_log_outcome", "outcome IN ('done', 'denied')"),
    ("audit_log_data", "jsonb_typeof(data) = 'object'"),
    ("audit_log_created_at", "created_at >= '0002-01-01Z' AND created_at < '9999-01-01Z'"),
)

# What is there may be such an entry already; it stays.
_VALIDATE = """
DO $$ BEGIN
    ALTER TABLE audit_log VALIDATE CONSTRAINT {name};
EXCEPTION WHEN check_violation THEN
    RAISE WARNING 'the audit log has entries that break %', '{name}';
END $$
"""


def upgrade() -> None:
    op.execute(_FUNCTIONS)
    op.execute(_TRIGGERS)
    for name, condition in _CHECKS:
        op.execute(f"ALTER TABLE audit_log ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
        op.execute(_VALIDATE.format(name=name))


def downgrade() -> None:
    for name, _ in _CHECKS:
        op.execute(f"ALTER TABLE audit_log DROP CONSTRAINT {name}")
    op.execute("DROP TRIGGER audit_pending_check ON audit_pending")
    op.execute("DROP TRIGGER audit_chain_note ON audit_chain")
    op.execute("DROP TRIGGER audit_chain_check ON audit_chain")
    op.execute("DROP FUNCTION audit_check_seal, audit_drop_note, audit_check_note")
