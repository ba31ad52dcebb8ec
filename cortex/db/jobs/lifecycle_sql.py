"""The SQL of the steps of a job's life (`cortex.db.jobs.lifecycle`), each one guarded statement.

Reading the row again under the lock is not needed: PostgreSQL checks the guard of an UPDATE on
the newest version of the row, and what it returns is that version. Everything else in a statement
sees the rows as they were before it waited for the lock: only an UPDATE's answer is trusted.
PostgreSQL is free in the order of the writes of one statement, so all its events are one INSERT.
"""

from typing import Final

from sqlalchemy import text

from cortex.db.direct import Direct
from cortex.db.jobs.leases import DECIDED
from cortex.db.money.budgets import stop_covers
from cortex.db.states import listed
from cortex.domain.states import JobState, LeaseState, job_sources, lease_sources


def _events(*parts: tuple[str, str]) -> str:
    """A part that inserts, in order, the events of each parameter whose gate has a row."""
    chosen = " UNION ALL ".join(
        f"""SELECT {number} AS part, n, e
        FROM jsonb_array_elements(CAST(:{name} AS jsonb)) WITH ORDINALITY AS t(e, n)
        WHERE EXISTS (SELECT 1 FROM {gate})"""
        for number, (name, gate) in enumerate(parts)
    )
    return f"""told AS (
    INSERT INTO events (id, type, subject, job_id, data)
    SELECT e->>'id', e->>'type', e->>'subject', e->>'job_id', e->'data'
    FROM ({chosen}) AS chosen ORDER BY part, n
)"""


_LOCK: Final = "locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(:job, 0)))"


def _context(leases: str) -> str:
    return f"""
SELECT l.*, j.spec AS job_spec, j.secrets AS job_secrets, j.state AS job_state
FROM {leases} l JOIN jobs j ON j.id = l.job_id WHERE l.key = :key
"""


# Guards nothing: a lease, and of its job what every step needs.
READ: Final = Direct(text(_context("leases")))


def _job_moves(state: JobState, values: str) -> str:
    """A part that moves the job, guarded by the states from which it may come there."""
    return f"""UPDATE jobs SET updated_at = now(), state = '{state}', {values} FROM locked
    WHERE id = :job AND state IN ({listed(job_sources(state))})"""


_PLACED: Final = "attempt = :attempt, provider_id = :provider, message = :message"
# What is within the reserve of the job was allowed when it was accepted; else the budgets, if there
# is one, must be locked and asked first, which takes statements of their own
# (`cortex.db.money.budgets`).
_STOPPED: Final = stop_covers("jobs.owner", "jobs.project", "jobs.labels", "jobs.api_key")
_ALLOWED: Final = f"""(NOT {_STOPPED} OR EXISTS (
            SELECT 1 FROM job_reserves r
            WHERE r.job_id = :job AND r.released_at IS NULL AND r.usd >= :hold_usd))"""
# The lock is that of a foreign key: whoever removes the provider waits, and sees the lease then.
_TAKES_JOBS: Final = """open AS MATERIALIZED (
    SELECT id FROM providers WHERE id = :provider AND enabled AND configured FOR KEY SHARE
)"""
# Guards that an attempt is placed once, by a job that may be placed and was not extended meanwhile,
# within its reserve, at a provider that takes jobs.
INTEND: Final = Direct(
    text(f"""
WITH {_LOCK}, {_TAKES_JOBS}, moved AS (
    {_job_moves(JobState.PLACING, _PLACED)}
        AND extension = :extension AND NOT EXISTS (SELECT 1 FROM leases WHERE key = :key)
        AND {_ALLOWED} AND EXISTS (SELECT 1 FROM open)
    RETURNING id
), unreserved AS (
    UPDATE job_reserves SET usd = 0 FROM moved
    WHERE job_reserves.job_id = moved.id AND released_at IS NULL
), leased AS (
    INSERT INTO leases (key, job_id, attempt, provider_id, state, offer, currency)
    SELECT :key, id, :attempt, :provider, '{LeaseState.INTENDED}', CAST(:offer AS jsonb), :currency
    FROM moved
), held AS (
    INSERT INTO ledger (id, job_id, lease_key, provider_id, kind, amount, currency, usd_rate)
    SELECT :entry, id, :key, :provider, 'hold', :hold, :currency, :usd_rate FROM moved
), {_events(("events", "moved"))}
SELECT count(*) FROM moved
""")
)

# Guards that the job is deploying only for a lease that is still intended.
DEPLOY: Final = Direct(
    text(f"""
WITH {_LOCK}, moved AS (
    {_job_moves(JobState.DEPLOYING, "message = :message")}
        AND EXISTS (SELECT 1 FROM leases WHERE key = :key AND state = '{LeaseState.INTENDED}')
    RETURNING id
), {_events(("events", "moved"))}
{_context("leases")}
""")
)

# Guards that what is being released is not reserved any more, and that it is reserved once.
RESERVE: Final = Direct(
    text(f"""
WITH {_LOCK}, moved AS (
    UPDATE leases SET state = '{LeaseState.RESERVED}', ref = CAST(:ref AS jsonb),
        offer = CAST(:offer AS jsonb), reserved_at = now()
    FROM locked WHERE key = :key AND state IN ({listed(lease_sources(LeaseState.RESERVED))})
    RETURNING key
), {_events(("events", "moved"))}
SELECT count(*) FROM moved
""")
)

# Guards that a lease begins to be released once; a cancelled job stays so until that is confirmed.
RELEASE: Final = Direct(
    text(f"""
WITH {_LOCK}, released AS (
    UPDATE leases SET state = '{LeaseState.RELEASING}',
        failure = COALESCE(failure, CAST(:failure AS text)),
        releasing_at = now()
    FROM locked WHERE key = :key AND state IN ({listed(lease_sources(LeaseState.RELEASING))})
    RETURNING leases.*
), moved AS (
    {_job_moves(JobState.SETTLING, "message = :message")} AND :settling
        AND state <> '{JobState.CANCELLING}'
    RETURNING id
), {_events(("events", "moved"))}, lease AS (
    SELECT * FROM released
    UNION ALL SELECT * FROM leases WHERE key = :key AND NOT EXISTS (SELECT 1 FROM released)
)
{_context("lease")}
""")
)

# Guards that a lease is billed once, and by no other decision than the caller knows of.
BOOK: Final = Direct(
    text(f"""
WITH {_LOCK}, sums AS (
    SELECT COALESCE(SUM(amount), 0) AS held FROM ledger WHERE lease_key = :key AND kind = 'hold'
), lease AS (
    UPDATE leases SET cost = :cost, currency = :currency,
        settle_steps = CAST(:steps AS jsonb) FROM locked
    WHERE key = :key AND cost IS NULL
        AND ({DECIDED}) IS NOT DISTINCT FROM CAST(:decided AS jsonb)
    RETURNING provider_id
), charged AS (
    INSERT INTO ledger (id, job_id, lease_key, provider_id, kind, amount, currency, usd_rate, note)
    SELECT :charge_id, :job, :key, provider_id, 'charge', :cost, :currency, :usd_rate, :note
    FROM lease WHERE :charge
    ON CONFLICT DO NOTHING RETURNING id
), released AS (
    INSERT INTO ledger (id, job_id, lease_key, provider_id, kind, amount, currency, usd_rate)
    SELECT :release_id, :job, :key, provider_id, 'release', GREATEST(held - :counted, 0),
        :hold_currency, :hold_rate FROM lease, sums
    ON CONFLICT DO NOTHING
), reserved AS (
    UPDATE job_reserves SET usd = job_reserves.usd + GREATEST(held * :hold_rate - :usd, 0)
    FROM lease, sums WHERE job_reserves.job_id = :job AND released_at IS NULL
        AND EXISTS (SELECT 1 FROM jobs WHERE id = :job
            AND state NOT IN ('{JobState.SETTLING}', '{JobState.CANCELLING}'))
), billed AS (
    UPDATE jobs SET cost = cost + :usd, updated_at = now() FROM charged WHERE jobs.id = :job
), {_events(("events", "charged"))}
SELECT count(*) FROM lease
""")
)

# Guards that a job ends once, and only when it is settling.
CLOSE: Final = Direct(
    text(f"""
WITH {_LOCK}, released AS (
    UPDATE leases SET state = '{LeaseState.RELEASED}', released_at = now()
    FROM locked WHERE key = :key AND state IN ({listed(lease_sources(LeaseState.RELEASED))})
    RETURNING key
), finished AS (
    UPDATE jobs SET updated_at = now(), state = :state, message = :message, reason = :reason,
        exit_code = :exit_code, finished_at = now()
    FROM locked WHERE id = :job AND state = '{JobState.SETTLING}' RETURNING id
), {_events(("released_events", "released"), ("events", "finished"))}
SELECT count(*) FROM finished
""")
)


def _lease_lives(state: LeaseState, values: str = "") -> str:
    """A part that makes the lease live, guarded by its being reserved and nothing further."""
    return f"""UPDATE leases SET state = '{state}', committed_at = :now,
        ref = CAST(:ref AS jsonb){values}
    FROM locked WHERE key = :key AND state = '{LeaseState.RESERVED}'
    RETURNING key"""


_RUN: Final = """, run_state = :run_state, exit_code = :exit_code, message = :message,
        endpoints = CAST(:endpoints AS jsonb), version = version + 1,
        signalled_version = version + 1, started_at = :started_at, finished_at = :finished_at"""
# A job that is being stopped keeps its state: only its deadline is noted.
_DEADLINE: Final = f"""before AS (
    SELECT state FROM jobs WHERE id = :job
), moved AS (
    UPDATE jobs SET updated_at = now(),
        state = CASE WHEN :started AND state IN ({listed(job_sources(JobState.RUNNING))})
            THEN '{JobState.RUNNING}' ELSE state END,
        message = CASE WHEN :started THEN :job_message ELSE jobs.message END,
        deadline_at = :now + CAST(:duration AS interval) + extension, warned_at = NULL,
        started_at = COALESCE(:started_at, started_at)
    FROM live WHERE id = :job
    RETURNING state, deadline_at
), ran AS (
    SELECT 1 FROM moved, before
    WHERE moved.state = '{JobState.RUNNING}' AND before.state <> moved.state
), {_events(("live_events", "live"), ("running_events", "ran"), ("events", "live"))}
SELECT deadline_at FROM moved"""

# Guards that what is being released does not go live any more. The network said nothing of a run.
LIVE: Final = Direct(
    text(f"""
WITH {_LOCK}, live AS (
    {_lease_lives(LeaseState.ACTIVE)}
), {_DEADLINE}
""")
)

# The same, where the network answered with how it runs.
LIVE_RUNNING: Final = Direct(
    text(f"""
WITH {_LOCK}, live AS (
    {_lease_lives(LeaseState.ACTIVE, _RUN)}
), {_DEADLINE}
""")
)

# The same, where it is over already: it was active and ended at once, and nobody need watch it.
LIVE_ENDED: Final = Direct(
    text(f"""
WITH {_LOCK}, live AS (
    {_lease_lives(LeaseState.ENDED, _RUN)}
), {_DEADLINE}
""")
)
