"""The steps of a job's life, each one statement: guarded, with its events, or not at all.

A step takes the job's lock, moves the job or lease only from a legal state, and writes the events
only if it moved. One statement is one round trip and one transaction; a job has seven of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from cortex.db.base import Access, Repository, Writes
from cortex.db.direct import Direct
from cortex.db.jobs.leases import lease_of
from cortex.db.jobs.lifecycle_sql import (
    BOOK,
    CLOSE,
    DEPLOY,
    INTEND,
    LIVE,
    LIVE_ENDED,
    LIVE_RUNNING,
    READ,
    RELEASE,
    RESERVE,
)
from cortex.db.outbox.events import event_rows
from cortex.domain.errors import NotFound
from cortex.domain.events import NewEvent
from cortex.domain.ids import new_id
from cortex.domain.jobs import Outcome
from cortex.domain.leases import Lease, LeaseRef, SettleStep
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState
from cortex.domain.trace.resolution import Resolution


@dataclass(frozen=True)
class Held:
    """A lease with what a step needs of its job."""

    lease: Lease
    spec: JobSpec
    secrets: bytes | None
    job_state: JobState


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


class StepRepository(Repository[Access]):
    async def intend(
        self: "StepRepository[Writes]",
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

        False if the job or its extension changed, if the provider takes no jobs any more, or if
        budgets must be asked for more than was reserved.
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
        return await self._count(INTEND, values) > 0

    async def begin_deploying(
        self: "StepRepository[Writes]",
        job_id: str,
        key: str,
        *,
        message: str,
        events: Sequence[NewEvent],
    ) -> Held:
        """Move the job to `deploying` if that is legal, and read what prepare needs."""
        values = {"job": job_id, "key": key, "message": message, "events": _packed(events)}
        return await self._held(DEPLOY, values, key)

    async def reserve(
        self: "StepRepository[Writes]",
        lease: Lease,
        ref: LeaseRef,
        *,
        offer: Offer,
        events: Sequence[NewEvent],
    ) -> bool:
        """Write down the reservation. False if the lease is being released, or has it already."""
        values = {
            "job": lease.job_id,
            "key": lease.key,
            "ref": ref.model_dump_json(),
            "offer": offer.model_dump_json(),
            "events": _packed(events),
        }
        return await self._count(RESERVE, values) > 0

    async def read(self, key: str) -> Held:
        """A lease with what a step needs of its job.

        Raises:
            NotFound: there is none with this key.
        """
        return await self._held(READ, {"key": key}, key)

    async def go_live(
        self: "StepRepository[Writes]",
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
        statement = LIVE if run is None else LIVE_ENDED if run.ended else LIVE_RUNNING
        row = await statement.first(self.connection, values)
        return None if row is None else row["deadline_at"]

    async def begin_release(
        self: "StepRepository[Writes]",
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
        held = await self._held(RELEASE, values, key)
        if held.lease.state in (LeaseState.RELEASING, LeaseState.RELEASED):
            return held
        return await self.read(key)  # another try released it while this one waited

    async def book(
        self: "StepRepository[Writes]",
        lease: Lease,
        cost: Money,
        *,
        hold_currency: str,
        usd_rate: Decimal | None,
        charge: bool,
        note: str,
        decided: Resolution | None,
        steps: Sequence[SettleStep] = (),
        events: Sequence[NewEvent],
    ) -> bool:
        """Charge and release of the hold, once per lease.

        False if they are booked already, or if something else was decided by hand about the bill
        than `decided` (None: nothing): look at the lease again.

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
            "decided": decided.model_dump_json() if decided is not None else None,
            "steps": orjson.dumps([step.model_dump(mode="json") for step in steps]).decode(),
            "charge_id": new_id("led"),
            "release_id": new_id("led"),
            "events": _packed(events),
        }
        return await self._count(BOOK, values) > 0

    async def close(
        self: "StepRepository[Writes]",
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
        return await self._count(CLOSE, values) > 0

    async def _count(
        self: "StepRepository[Writes]", statement: Direct, values: dict[str, Any]
    ) -> int:
        return int(await statement.scalar(self.connection, values))

    async def _held(self, statement: Direct, values: dict[str, Any], key: str) -> Held:
        row = await statement.first(self.connection, values)
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
    return orjson.dumps(event_rows(events)).decode()
