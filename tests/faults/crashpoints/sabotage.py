"""Ways to break the protocol on purpose, inside a forked worker: the checks must notice each.

Without a crash none of them does any harm. That is why only enumerating crashes tells them.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest
from temporalio import activity

from activities.contracts import AcquireResult, LeaseInput
from activities.jobs.leasing import LeaseActivities
from cortex.db.engine import Transaction
from cortex.db.jobs.lifecycle import StepRepository
from cortex.domain.money.ledger import EntryKind
from providers.akash.deployment.deployments import Deployments
from providers.akash.deployment.reserve import Reserver
from providers.base import Reservation
from tests.support.rows import set_job


def _honest() -> None:
    """Change nothing."""


def _intent_last() -> None:
    """The lease row is written after the network was called, and not before."""
    kept: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    intend, acquire = StepRepository.intend, LeaseActivities.acquire
    put = pytest.MonkeyPatch().setattr

    async def remember(_: Any, job_id: str, key: str, *more: Any, **values: Any) -> bool:
        kept[key] = ((job_id, key, *more), values)
        return True

    @activity.defn(name="acquire")
    async def call_first(self, target: LeaseInput) -> AcquireResult:  # type: ignore[no-untyped-def]
        if target.lease_key in kept:
            more, values = kept.pop(target.lease_key)
            async with self._database.reading() as tx:
                spec = (await tx.jobs.get(target.job_id)).spec
            provider = self._fleet.get(target.provider_id)
            await provider.prepare(spec, target.lease_key, offer=values["offer"])
            async with self._database.transaction() as tx:
                if not await intend(tx.steps, *more, **values):  # it is shown as placing already
                    await _write_intent(tx, *more, **values)
        return await acquire(self, target)

    put(StepRepository, "intend", remember)
    put(LeaseActivities, "acquire", call_first)


async def _write_intent(tx: Transaction, job_id: str, key: str, attempt: int, **of: Any) -> None:
    lease = await tx.leases.add(key, job_id, attempt, offer=of["offer"])
    await set_job(tx, job_id, attempt=attempt, provider_id=lease.provider_id)
    await tx.ledger.add(lease, EntryKind.HOLD, of["hold"])
    await tx.events.add_many(of["events"][-1:])


def _blind_retry() -> None:
    """A reservation whose outcome is not known is made again, and nobody looks for the first."""
    put = pytest.MonkeyPatch().setattr

    async def reserve(_: Any, provider: Any, lease: Any, spec: Any) -> Reservation:
        made: Reservation = await provider.prepare(spec, lease.key, offer=lease.offer)
        return made

    async def nothing(*_: Any) -> None:
        return None

    async def none(*_: Any) -> list[Any]:
        return []

    put(LeaseActivities, "_reserve", reserve)
    put(Reserver, "_ours", nothing)
    put(Deployments, "doubles", none)


SABOTAGES: Final[dict[str, Callable[[], None]]] = {
    "none": _honest,
    "intent last": _intent_last,
    "blind retry": _blind_retry,
}
