"""Leases: the intent log. A row exists before its network is called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select, text, update

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.direct import Direct, Record
from cortex.db.states import listed
from cortex.db.tables.base import NOW
from cortex.db.tables.leases import LeaseRow
from cortex.domain.errors import NotFound
from cortex.domain.leases import (
    PULL_FAILURES,
    Endpoint,
    Lease,
    LeaseRef,
    LeaseSnapshot,
    PullTrouble,
    SettleStep,
)
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.states import LeaseState, RunState, lease_sources
from cortex.domain.trace.resolution import Resolution, ResolveAction

# Told, with the provider's id, when its monitor should look at once.
CHANNEL = "cortex_leases"
MAX_MESSAGE: Final = 1000


@dataclass(frozen=True)
class UsageNow:
    """What a running lease has cost so far."""

    key: str
    cost: Money
    usd: Decimal
    estimated: bool


_FIND: Final = Direct(select(LeaseRow.__table__).where(LeaseRow.key == bindparam("key")))
_WAKE: Final = Direct(
    text(f"SELECT pg_notify('{CHANNEL}', provider_id) AS told FROM leases WHERE key = :key")
)
# What the monitor watches: live, or changed without the workflow having been told.
_WATCH: Final = Direct(
    text(f"""
SELECT * FROM leases WHERE provider_id = :provider
    AND state IN ({listed((LeaseState.ACTIVE, LeaseState.ENDED, LeaseState.LOST))})
    AND (state = '{LeaseState.ACTIVE}' OR signalled_version < version)
""")
)
_COLLECTED: Final = Direct(
    text("UPDATE leases SET collected_at = now() WHERE key = :key AND collected_at IS NULL")
)
_USAGE: Final = text(f"""
UPDATE leases SET usage_amount = u.amount, usage_currency = u.currency, usage_usd = u.usd,
    usage_estimated = u.estimated, usage_at = now()
FROM unnest(CAST(:keys AS text[]), CAST(:amounts AS numeric[]), CAST(:currencies AS text[]),
    CAST(:usd AS numeric[]), CAST(:estimated AS boolean[]))
    AS u(key, amount, currency, usd, estimated)
WHERE leases.key = u.key AND leases.state = '{LeaseState.ACTIVE}'
""")


DECIDED: Final = (
    f"CASE WHEN leases.resolution->>'action' <> '{ResolveAction.RETRY}' THEN leases.resolution END"
)
"""What was decided by hand about the bill of a lease; NULL if the network's own is booked."""


_PULLS: Final[dict[str | None, PullTrouble]] = {
    failure: trouble for trouble, failure in PULL_FAILURES.items()
}


class LeaseRepository(Repository[Access]):
    async def add(
        self: "LeaseRepository[Transacts]", key: str, job_id: str, attempt: int, *, offer: Offer
    ) -> Lease:
        """Write the intent to lease."""
        statement = (
            insert(LeaseRow)
            .values(
                key=key,
                job_id=job_id,
                attempt=attempt,
                provider_id=offer.provider_id,
                state=LeaseState.INTENDED.value,
                offer=offer.model_dump(mode="json"),
                currency=offer.price_per_hour.currency,
            )
            .returning(*LeaseRow.__table__.columns)
        )
        return lease_of((await self.connection.execute(statement)).mappings().one())

    async def get(self, key: str) -> Lease:
        """One lease.

        Raises:
            NotFound: there is none with this key.
        """
        lease = await self.find(key)
        if lease is None:
            raise NotFound(f"there is no lease `{key[:80]}`")
        return lease

    async def find(self, key: str) -> Lease | None:
        row = await _FIND.first(self.connection, {"key": key})
        return lease_of(row) if row else None

    async def wake_monitor(self: "LeaseRepository[Writes]", key: str) -> None:
        """Tell the monitor of the lease's provider, when this commits, to look at once."""
        await _WAKE.run(self.connection, {"key": key})

    async def of_job(self, job_id: str) -> list[Lease]:
        """All attempts of a job, first to last."""
        query = (
            select(LeaseRow.__table__).where(LeaseRow.job_id == job_id).order_by(LeaseRow.attempt)
        )
        return [lease_of(row) for row in (await self.connection.execute(query)).mappings()]

    async def move(self: "LeaseRepository[Transacts]", key: str, state: LeaseState) -> Lease | None:
        """Move a lease to `state` if that is legal; None (and nothing changed) if it is not."""
        return await self._move(key, state)

    async def record_run(
        self: "LeaseRepository[Transacts]", lease: Lease, snapshot: LeaseSnapshot
    ) -> Lease | None:
        """Write down a new run state, and that a lease has ended or is lost.

        None (and nothing changed) if it is released meanwhile.
        """
        state = snapshot.state
        values: dict[str, Any] = {
            "run_state": state.value,
            "exit_code": snapshot.exit_code,
            "message": snapshot.message[:MAX_MESSAGE],
            "endpoints": _packed(snapshot.endpoints),
            "version": lease.version + 1,
            "started_at": snapshot.started_at or lease.started_at,
            "finished_at": snapshot.finished_at,
        }
        if not state.final:
            return await self._put(lease.key, **values)
        values["finished_at"] = snapshot.finished_at or datetime.now(UTC)
        values["failure"] = PULL_FAILURES.get(snapshot.image, "unfit" if snapshot.unfit else None)
        target = LeaseState.ENDED if state is RunState.EXITED else LeaseState.LOST
        return await self._move(lease.key, target, **values)

    async def set_details(
        self: "LeaseRepository[Transacts]",
        key: str,
        *,
        endpoints: Sequence[Endpoint],
        message: str,
    ) -> None:
        """What its network says of it, while its run state stays."""
        await self._put(key, endpoints=_packed(endpoints), message=message[:MAX_MESSAGE])

    async def set_message(self: "LeaseRepository[Transacts]", key: str, message: str) -> None:
        """What is to be said of the lease now."""
        await self._put(key, message=message)

    async def set_cost(self: "LeaseRepository[Transacts]", key: str, cost: Money) -> None:
        """The bill, which the caller has booked."""
        await self._put(key, cost=cost.amount, currency=cost.currency)

    async def _move(
        self: "LeaseRepository[Transacts]", key: str, state: LeaseState, **values: Any
    ) -> Lease | None:
        sources = [source.value for source in lease_sources(state)]
        statement = (
            update(LeaseRow)
            .where(LeaseRow.key == key, LeaseRow.state.in_(sources))
            .values(state=state.value, **values)
            .returning(*LeaseRow.__table__.columns)
        )
        row = (await self.connection.execute(statement)).mappings().first()
        return lease_of(row) if row else None

    async def _put(self: "LeaseRepository[Transacts]", key: str, **values: Any) -> Lease:
        statement = (
            update(LeaseRow)
            .where(LeaseRow.key == key)
            .values(**values)
            .returning(*LeaseRow.__table__.columns)
        )
        return lease_of((await self.connection.execute(statement)).mappings().one())

    async def decide(self: "LeaseRepository[Transacts]", key: str, resolution: Resolution) -> None:
        """Write down what somebody decided about a lease. The last decision about its bill counts.

        That a step is to be tried again decides nothing about the bill, and takes nothing back.
        """
        statement = update(LeaseRow).where(LeaseRow.key == key)
        if not resolution.ends:
            statement = statement.where(text(f"({DECIDED}) IS NULL"))
        await self.connection.execute(
            statement.values(resolution=resolution.model_dump(mode="json"))
        )

    async def note_steps(
        self: "LeaseRepository[Writes]", key: str, steps: Sequence[Mapping[str, Any]]
    ) -> None:
        """What was done at the network so far; nothing if the bill is booked, which tells it."""
        await self.connection.execute(
            update(LeaseRow)
            .where(LeaseRow.key == key, LeaseRow.cost.is_(None))
            .values(settle_steps=list(steps))
        )

    async def watched(self, provider_id: str) -> list[Lease]:
        """Leases of a provider that are live, or whose last change was not signalled yet."""
        rows = await _WATCH.all(self.connection, {"provider": provider_id})
        return [lease_of(row) for row in rows]

    async def signalled(self: "LeaseRepository[Writes]", key: str, version: int) -> None:
        """The workflow knows of this version."""
        await self.connection.execute(
            update(LeaseRow)
            .where(LeaseRow.key == key, LeaseRow.signalled_version < version)
            .values(signalled_version=version)
        )

    async def lose_sight(
        self: "LeaseRepository[Writes]", key: str, since: datetime, reason: str
    ) -> bool:
        """Its network says nothing of a live lease. False if that is known, or it is not live."""
        statement = (
            update(LeaseRow)
            .where(
                LeaseRow.key == key,
                LeaseRow.state == LeaseState.ACTIVE.value,
                LeaseRow.unknown_since.is_(None),
            )
            .values(unknown_since=since, unknown_reason=reason[:1000])
            .returning(LeaseRow.key)
        )
        return (await self.connection.execute(statement)).first() is not None

    async def regain_sight(self: "LeaseRepository[Writes]", key: str) -> bool:
        """Its network says something again. False if it had not been lost sight of."""
        statement = (
            update(LeaseRow)
            .where(LeaseRow.key == key, LeaseRow.unknown_since.is_not(None))
            .values(unknown_since=None, unknown_reason="")
            .returning(LeaseRow.key)
        )
        return (await self.connection.execute(statement)).first() is not None

    async def collected(self: "LeaseRepository[Writes]", key: str) -> None:
        """Logs and results are all here: nothing of them is to be fetched again."""
        await _COLLECTED.run(self.connection, {"key": key})

    async def put_usage(self: "LeaseRepository[Writes]", usages: Sequence[UsageNow]) -> None:
        """Write down what leases have cost so far; only active ones still change."""
        values = {
            "keys": [usage.key for usage in usages],
            "amounts": [usage.cost.amount for usage in usages],
            "currencies": [usage.cost.currency for usage in usages],
            "usd": [usage.usd for usage in usages],
            "estimated": [usage.estimated for usage in usages],
        }
        await self.connection.execute(_USAGE, values)

    async def open_counts(self) -> dict[str, int]:
        """How many leases are not released, by provider."""
        query = (
            select(LeaseRow.provider_id, func.count())
            .where(LeaseRow.state != LeaseState.RELEASED.value)
            .group_by(LeaseRow.provider_id)
        )
        return {row[0]: row[1] for row in await self.connection.execute(query)}

    async def open_at(self, provider_id: str, limit: int = 10) -> list[str]:
        """Keys of leases of a provider that are not released, oldest first."""
        query = (
            select(LeaseRow.key)
            .where(LeaseRow.provider_id == provider_id, LeaseRow.state != LeaseState.RELEASED.value)
            .order_by(LeaseRow.created_at)
            .limit(limit)
        )
        return list((await self.connection.execute(query)).scalars())

    async def released_at_now(self: "LeaseRepository[Transacts]", key: str) -> Lease | None:
        """Write `released`; None if the lease is not being released."""
        return await self._move(key, LeaseState.RELEASED, released_at=NOW)


def _packed(endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
    return [endpoint.model_dump() for endpoint in endpoints]


def lease_of(row: Row | Record) -> Lease:
    cost = row["cost"]
    return Lease(
        key=row["key"],
        job_id=row["job_id"],
        attempt=row["attempt"],
        provider_id=row["provider_id"],
        state=LeaseState(row["state"]),
        offer=Offer.model_validate(row["offer"]),
        ref=LeaseRef.model_validate(row["ref"]) if row["ref"] else None,
        run_state=RunState(row["run_state"]) if row["run_state"] else None,
        exit_code=row["exit_code"],
        message=row["message"],
        image=_PULLS.get(row["failure"], ""),
        endpoints=tuple(Endpoint.model_validate(endpoint) for endpoint in row["endpoints"]),
        version=row["version"],
        signalled_version=row["signalled_version"],
        log_cursor=row["log_cursor"],
        created_at=row["created_at"],
        committed_at=row["committed_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        reserved_at=row["reserved_at"],
        releasing_at=row["releasing_at"],
        collected_at=row["collected_at"],
        released_at=row["released_at"],
        cost=None if cost is None else Money(amount=cost, currency=row["currency"]),
        unknown_since=row["unknown_since"],
        unknown_reason=row["unknown_reason"],
        usage=_usage(row),
        usage_at=row["usage_at"],
        resolution=row["resolution"],
        settle_steps=tuple(SettleStep.model_validate(step) for step in row["settle_steps"] or ()),
    )


def _usage(row: Row | Record) -> Money | None:
    if row["usage_amount"] is None:
        return None
    return Money(amount=row["usage_amount"], currency=row["usage_currency"])
