"""The steps of a job's life, each one statement: guarded, with its events, or not at all.

A step takes the job's lock, moves the job or lease only from a legal state, and writes the events
only if it moved. One statement is one round trip and one transaction; a job has seven of them.
Reading the row again under the lock is not needed: PostgreSQL checks the guard of an UPDATE on
the newest version of the row, and what it returns is that version. Everything else in a statement
sees the rows as they were before it waited for the lock: only an UPDATE's answer is trusted.
PostgreSQL is free in the order of the writes of one statement, so all its events are one INSERT.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import TextClause, text

from cortex.db.base import Repository
from cortex.db.budgets import stop_covers
from cortex.db.events import NewEvent
from cortex.db.leases import lease_of
from cortex.domain.errors import NotFound
from cortex.domain.ids import new_id
from cortex.domain.jobs import Outcome
from cortex.domain.leases import Lease, LeaseRef, SettleStep
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState, job_sources, lease_sources


@dataclass(frozen=True)
class Held:
    """A lease with what a step needs of its job."""

    lease: Lease
    spec: JobSpec
    secrets: bytes | None
    job_state: JobState


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


def _sources(states: frozenset[Any]) -> str:
    return ", ".join(sorted(f"'{state.value}'" for state in states))


_LOCK: Final = "locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(:job, 0)))"
_JOB_MOVED: Final = "UPDATE jobs SET updated_at = now(), state = {state}, {set} FROM locked " + (
    "WHERE id = :job AND state IN ({sources})"
)


def _context(leases: str) -> str:
    return f"""
SELECT l.*, j.spec AS job_spec, j.secrets AS job_secrets, j.state AS job_state
FROM {leases} l JOIN jobs j ON j.id = l.job_id WHERE l.key = :key
"""


_READ: Final = text(_context("leases"))


def _job_moves(state: JobState, values: str) -> str:
    return _JOB_MOVED.format(state=f"'{state}'", set=values, sources=_sources(job_sources(state)))


_PLACED: Final = "attempt = :attempt, provider_id = :provider, message = :message"
# What is within the reserve of the job was allowed when it was accepted; else the budgets, if there
# is one, must be locked and asked first, which takes statements of their own (`cortex.db.budgets`).
_ALLOWED: Final = f"""(NOT {stop_covers("jobs.owner", "jobs.labels")} OR EXISTS (
            SELECT 1 FROM job_reserves r
            WHERE r.job_id = :job AND r.released_at IS NULL AND r.usd >= :hold_usd))"""
_INTEND: Final = text(f"""
WITH {_LOCK}, moved AS (
    {_job_moves(JobState.PLACING, _PLACED)}
        AND extension = :extension AND NOT EXISTS (SELECT 1 FROM leases WHERE key = :key)
        AND {_ALLOWED}
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

_DEPLOY: Final = text(f"""
WITH {_LOCK}, moved AS (
    {_job_moves(JobState.DEPLOYING, "message = :message")}
        AND EXISTS (SELECT 1 FROM leases WHERE key = :key AND state = '{LeaseState.INTENDED}')
    RETURNING id
), {_events(("events", "moved"))}
{_context("leases")}
""")

_RESERVE: Final = text(f"""
WITH {_LOCK}, moved AS (
    UPDATE leases SET state = '{LeaseState.RESERVED}', ref = CAST(:ref AS jsonb),
        offer = CAST(:offer AS jsonb), reserved_at = now()
    FROM locked WHERE key = :key AND state IN ({_sources(lease_sources(LeaseState.RESERVED))})
    RETURNING key
), {_events(("events", "moved"))}
SELECT count(*) FROM moved
""")

_RELEASE: Final = text(f"""
WITH {_LOCK}, released AS (
    UPDATE leases SET state = '{LeaseState.RELEASING}',
        failure = COALESCE(failure, CAST(:failure AS text)),
        releasing_at = now()
    FROM locked WHERE key = :key AND state IN ({_sources(lease_sources(LeaseState.RELEASING))})
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

_BOOK: Final = text(f"""
WITH {_LOCK}, sums AS (
    SELECT COALESCE(SUM(amount), 0) AS held FROM ledger WHERE lease_key = :key AND kind = 'hold'
), lease AS (
    UPDATE leases SET cost = :cost, currency = :currency,
        settle_steps = CAST(:steps AS jsonb) FROM locked
    WHERE key = :key AND cost IS NULL RETURNING provider_id
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

_CLOSE: Final = text(f"""
WITH {_LOCK}, released AS (
    UPDATE leases SET state = '{LeaseState.RELEASED}', released_at = now()
    FROM locked WHERE key = :key AND state IN ({_sources(lease_sources(LeaseState.RELEASED))})
    RETURNING key
), finished AS (
    UPDATE jobs SET updated_at = now(), state = :state, message = :message, reason = :reason,
        exit_code = :exit_code, finished_at = now()
    FROM locked WHERE id = :job AND state = '{JobState.SETTLING}' RETURNING id
), {_events(("released_events", "released"), ("events", "finished"))}
SELECT count(*) FROM finished
""")


def _go_live(*, running: bool, ended: bool) -> TextClause:
    """`running`: the network answered with a run state; `ended`: and it is over already."""
    target = LeaseState.ENDED if ended else LeaseState.ACTIVE
    job_state = f"""CASE WHEN :started AND state IN ({_sources(job_sources(JobState.RUNNING))})
            THEN '{JobState.RUNNING}' ELSE state END"""
    known = """, run_state = :run_state, exit_code = :exit_code, message = :message,
        endpoints = CAST(:endpoints AS jsonb), version = version + 1,
        signalled_version = version + 1, started_at = :started_at, finished_at = :finished_at"""
    return text(f"""
WITH {_LOCK}, live AS (
    UPDATE leases SET state = '{target}', committed_at = :now, ref = CAST(:ref AS jsonb)
        {known if running else ""}
    FROM locked WHERE key = :key AND state = '{LeaseState.RESERVED}'
    RETURNING key
), before AS (
    SELECT state FROM jobs WHERE id = :job
), moved AS (
    UPDATE jobs SET updated_at = now(), state = {job_state},
        message = CASE WHEN :started THEN :job_message ELSE jobs.message END,
        deadline_at = :now + CAST(:duration AS interval) + extension, warned_at = NULL,
        started_at = COALESCE(:started_at, started_at)
    FROM live WHERE id = :job
    RETURNING state, deadline_at
), ran AS (
    SELECT 1 FROM moved, before
    WHERE moved.state = '{JobState.RUNNING}' AND before.state <> moved.state
), {_events(("live_events", "live"), ("running_events", "ran"), ("events", "live"))}
SELECT deadline_at FROM moved
""")


_LIVE: Final = {
    (running, ended): _go_live(running=running, ended=ended)
    for running, ended in ((False, False), (True, False), (True, True))
}


@dataclass(frozen=True)
class Run:
    """What the network answered to the commit about the run, if anything."""

    state: str
    ended: bool
    exit_code: int | None
    message: str
    endpoints: list[dict[str, Any]]
    started_at: datetime | None
    finished_at: datetime | None


class StepRepository(Repository):
    async def intend(
        self,
        job_id: str,
        key: str,
        attempt: int,
        *,
        offer: Offer,
        hold: Money,
        extension: timedelta,
        message: str,
        events: Sequence[NewEvent],
    ) -> bool:
        """Place the job: lease row and hold, in the place of its reserve.

        False if the job or its extension changed, or budgets must be asked for more than was
        reserved.
        """
        values = {
            "job": job_id,
            "key": key,
            "attempt": attempt,
            "provider": offer.provider_id,
            "message": message,
            "extension": extension,
            "offer": offer.model_dump_json(),
            "currency": hold.currency,
            "hold": hold.rounded().amount,
            "hold_usd": hold.in_usd(offer.usd_rate),
            "usd_rate": offer.usd_rate,
            "entry": new_id("led"),
            "events": _packed(events),
        }
        return await self._count(_INTEND, values) > 0

    async def begin_deploying(
        self, job_id: str, key: str, *, message: str, events: Sequence[NewEvent]
    ) -> Held:
        """Move the job to `deploying` if that is legal, and read what prepare needs."""
        values = {"job": job_id, "key": key, "message": message, "events": _packed(events)}
        return await self._held(_DEPLOY, values, key)

    async def reserve(
        self, lease: Lease, ref: LeaseRef, *, offer: Offer, events: Sequence[NewEvent]
    ) -> bool:
        """Write down the reservation. False if the lease is being released, or has it already."""
        values = {
            "job": lease.job_id,
            "key": lease.key,
            "ref": ref.model_dump_json(),
            "offer": offer.model_dump_json(),
            "events": _packed(events),
        }
        return await self._count(_RESERVE, values) > 0

    async def read(self, key: str) -> Held:
        """A lease with what a step needs of its job.

        Raises:
            NotFound: there is none with this key.
        """
        return await self._held(_READ, {"key": key}, key)

    async def go_live(
        self,
        lease: Lease,
        ref: LeaseRef,
        *,
        now: datetime,
        duration: timedelta,
        run: Run | None,
        live_events: Sequence[NewEvent],
        running_events: Sequence[NewEvent],
        events: Sequence[NewEvent],
    ) -> datetime | None:
        """Write down the commit, and the run state where it is known.

        Returns the deadline, or None if the lease may not go live any more. `running_events` are
        written if the job moves to `running`.
        """
        started = run is not None and run.started_at is not None
        values: dict[str, Any] = {
            "job": lease.job_id,
            "key": lease.key,
            "ref": ref.model_dump_json(),
            "now": now,
            "duration": duration,
            "started": started,
            "started_at": run.started_at if run else None,
            "job_message": f"running on `{lease.provider_id}`",
            "live_events": _packed(live_events),
            "running_events": _packed(running_events),
            "events": _packed(events),
        }
        if run is not None:
            values |= {
                "run_state": run.state,
                "exit_code": run.exit_code,
                "message": run.message,
                "endpoints": orjson.dumps(run.endpoints).decode(),
                "finished_at": run.finished_at,
            }
        statement = _LIVE[(run is not None, run is not None and run.ended)]
        row = (await self.connection.execute(statement, values)).first()
        return None if row is None else row.deadline_at

    async def begin_release(
        self,
        job_id: str,
        key: str,
        *,
        settling: bool,
        failure: str | None,
        message: str,
        events: Sequence[NewEvent],
    ) -> Held:
        """Lease to `releasing`, and with `settling` the job to `settling`; the lease as it is then.

        A job that is being cancelled stays `cancelling`: nothing is settled before the network
        has confirmed.

        `failure` is what the network is to be blamed for, if anything: `lost`, `refused`. A lease
        that was recorded as `unfit` (to run the job) stays so.

        Raises:
            NotFound: there is no such lease.
        """
        values = {
            "job": job_id,
            "key": key,
            "settling": settling,
            "failure": failure,
            "message": message,
            "events": _packed(events),
        }
        held = await self._held(_RELEASE, values, key)
        if held.lease.state in (LeaseState.RELEASING, LeaseState.RELEASED):
            return held
        return await self.read(key)  # another try released it while this one waited

    async def book(
        self,
        lease: Lease,
        cost: Money,
        *,
        hold_currency: str,
        usd_rate: Decimal | None,
        charge: bool,
        note: str,
        steps: Sequence[SettleStep] = (),
        events: Sequence[NewEvent],
    ) -> bool:
        """Charge and release of the hold, once per lease; False if they are booked already.

        `usd_rate` is that of the cost's currency; None: the offer's. `steps` is what was done at
        the network before.
        """
        rate = lease.offer.usd_rate if usd_rate is None else usd_rate
        values = {
            "job": lease.job_id,
            "key": lease.key,
            "cost": cost.amount,
            "currency": cost.currency,
            "counted": cost.amount if cost.currency == hold_currency else Decimal(0),
            "hold_currency": hold_currency,
            "usd": _in_usd(cost, rate),
            "usd_rate": rate,
            "hold_rate": lease.offer.usd_rate,
            "charge": charge,
            "note": note,
            "steps": orjson.dumps([item.model_dump(mode="json") for item in steps]).decode(),
            "charge_id": new_id("led"),
            "release_id": new_id("led"),
            "events": _packed(events),
        }
        return await self._count(_BOOK, values) > 0

    async def close(
        self,
        job_id: str,
        key: str,
        outcome: Outcome,
        *,
        released_events: Sequence[NewEvent],
        events: Sequence[NewEvent],
    ) -> bool:
        """Lease to `released` and job to its end. False if the job was not `settling`."""
        values = {
            "job": job_id,
            "key": key,
            "state": outcome.state.value,
            "message": outcome.message,
            "reason": outcome.reason.value,
            "exit_code": outcome.exit_code,
            "released_events": _packed(released_events),
            "events": _packed(events),
        }
        return await self._count(_CLOSE, values) > 0

    async def _count(self, statement: TextClause, values: dict[str, Any]) -> int:
        return int((await self.connection.execute(statement, values)).scalar_one())

    async def _held(self, statement: TextClause, values: dict[str, Any], key: str) -> Held:
        row = (await self.connection.execute(statement, values)).mappings().first()
        if row is None:
            raise NotFound(f"there is no lease `{key[:80]}`")
        return _held_of(row)


def _in_usd(cost: Money, rate: Decimal) -> Decimal:
    """For the sum of a job's bills; digits beyond those of the rate mean nothing."""
    return cost.amount if rate == 1 else (cost * rate).rounded().amount


def _held_of(row: Any) -> Held:
    return Held(
        lease=lease_of(row),
        spec=JobSpec.model_validate(row["job_spec"]),
        secrets=row["job_secrets"],
        job_state=JobState(row["job_state"]),
    )


def _packed(events: Sequence[NewEvent]) -> str:
    rows = [
        {
            "id": new_id("evt"),
            "type": event_type.value,
            "subject": subject,
            "job_id": job_id,
            "data": data,
        }
        for event_type, subject, job_id, data in events
    ]
    return orjson.dumps(rows).decode()
