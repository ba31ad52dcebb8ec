"""The SQL of running groups (`cortex.db.groups.repository`), each statement with its guard."""

from typing import Final

from sqlalchemy import text

from cortex.db.states import GROUP_ENDED, listed
from cortex.domain.groups.snapshot import ABORTED, COMMITTED
from cortex.domain.states import JobState, LeaseState, job_sources

_LONGEST: Final = 300

LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:id, 0))")

# In an order that all groups keep: two of them never wait for each other.
LOCK_MEMBERS: Final = text("""
SELECT pg_advisory_xact_lock(hashtextextended(id, 0)) FROM
    (SELECT id FROM unnest(CAST(:ids AS text[])) AS t(id) ORDER BY id OFFSET 0) s
""")

# The members of a group as the planner sees them; no guard: the group's lock is held.
MEMBERS: Final = text(
    f"""
SELECT j.id, COALESCE(j.member, j.name) AS name, COALESCE(j.gang, 0) AS gang, j.state, j.held,
    j.reason, left(j.message, {_LONGEST}) AS message, j.exit_code,
    j.cancel_requested_at IS NOT NULL AS asked,
    COALESCE(l.state = '{LeaseState.RESERVED}' AND j.state = '{JobState.DEPLOYING}', false)
        AS ready,
    EXISTS (SELECT 1 FROM leases live WHERE live.job_id = j.id AND live.committed_at IS NOT NULL)
        AS committed
FROM jobs j LEFT JOIN leases l ON l.job_id = j.id AND l.attempt = j.attempt
WHERE j.group_id = :group ORDER BY j.id
"""
)

# All members of a gang need the same: one that is not started yet tells it for all of them.
NEEDS: Final = text(
    """
SELECT one.gang, n.needs_job_id FROM job_needs n JOIN (
    SELECT DISTINCT ON (COALESCE(gang, 0)) COALESCE(gang, 0) AS gang, id
    FROM jobs WHERE group_id = :group AND held ORDER BY COALESCE(gang, 0), id
) one ON one.id = n.job_id
"""
)

# Guards that a gang is decided once, and committed only while every member holds a reservation.
COMMIT: Final = text(
    f"""
UPDATE job_gangs SET decision = '{COMMITTED}', reason = :reason, decided_at = now()
WHERE group_id = :group AND gang = :gang AND decision IS NULL AND NOT EXISTS (
    SELECT 1 FROM jobs j LEFT JOIN leases l ON l.job_id = j.id AND l.attempt = j.attempt
    WHERE j.group_id = :group AND j.gang = :gang
        AND (j.state <> '{JobState.DEPLOYING}' OR l.state IS DISTINCT FROM '{LeaseState.RESERVED}')
)
"""
)

# How long a member waits for a coordinator that may be late: a tenth of what the gang was given.
_GRACE: Final = (
    "LEAST(GREATEST((g.deadline_at - g.started_at) / 10, interval '2 seconds'), "
    "interval '30 seconds')"
)

# Guards that a gang is decided once, and given up without its coordinator only after its time.
PRESUME: Final = text(
    f"""
UPDATE job_gangs g SET decision = '{ABORTED}', reason = :reason, decided_at = now()
WHERE g.group_id = :group AND g.gang = :gang AND g.decision IS NULL
    AND g.deadline_at + {_GRACE} <= now()
RETURNING g.gang
"""
)

# What is decided about a member's gang; no guard: it only reads.
STANDING: Final = text(
    f"""
SELECT j.group_id, j.gang, g.decision, COALESCE(g.reason, '') AS reason,
    g.deadline_at + {_GRACE} AS until, now() AS now, g.gang IS NOT NULL AS known
FROM jobs j LEFT JOIN job_gangs g ON g.group_id = j.group_id AND g.gang = j.gang
WHERE j.id = :job
"""
)

# Guards that a gang is decided once.
ABORT: Final = text(
    f"""
UPDATE job_gangs SET decision = '{ABORTED}', reason = :reason, decided_at = now()
WHERE group_id = :group AND gang = :gang AND decision IS NULL
"""
)

# A group of before there were gangs gets its row when it is needed; guards that it gets one.
ENSURE_GANG: Final = text(
    "INSERT INTO job_gangs (group_id, gang) VALUES (:group, :gang) ON CONFLICT DO NOTHING"
)

# Guards that the deadline is counted from the first start.
START_GANG: Final = text("""
UPDATE job_gangs SET started_at = now(), deadline_at = :deadline
WHERE group_id = :group AND gang = :gang AND started_at IS NULL
""")

# Guards that only what waits is let go, and once.
LET_GO: Final = text(
    f"""
UPDATE jobs SET held = false, updated_at = now()
WHERE id = ANY(:ids) AND held AND state = '{JobState.PENDING}'
RETURNING id
"""
)

_ASKED: Final = f"""state = '{JobState.CANCELLING}',
    cancel_requested_at = COALESCE(cancel_requested_at, now())"""

# Guards that what ends already is left alone, and that what was never started is closed instead.
STOP: Final = text(
    f"""
UPDATE jobs SET updated_at = now(), message = :message, {_ASKED}
WHERE id = ANY(:ids) AND NOT held AND state IN ({listed(job_sources(JobState.CANCELLING))})
RETURNING id
"""
)

# The three states of a member that was never started, on its way to the end. Each guards that it is
# held: one that was started has a workflow, which ends it.
CANCEL_HELD: Final = text(
    f"""
UPDATE jobs SET updated_at = now(), {_ASKED}
WHERE id = ANY(:ids) AND held AND state = '{JobState.PENDING}'
RETURNING id
"""
)
SETTLE_HELD: Final = text(
    f"""
UPDATE jobs SET updated_at = now(), state = '{JobState.SETTLING}'
WHERE id = ANY(:ids) AND held AND state = '{JobState.CANCELLING}'
RETURNING id
"""
)
END_HELD: Final = text(
    f"""
UPDATE jobs SET updated_at = now(), state = '{JobState.CANCELLED}', reason = :reason,
    message = :message, finished_at = now()
WHERE id = ANY(:ids) AND held AND state IN ({listed(job_sources(JobState.CANCELLED))})
RETURNING id
"""
)

# Guards that the workflow of a group that is over is not woken.
NUDGE: Final = text(
    f"""
INSERT INTO commands (group_id, kind)
SELECT id, 'nudge' FROM job_groups WHERE id = :id AND state NOT IN ({GROUP_ENDED})
"""
)
