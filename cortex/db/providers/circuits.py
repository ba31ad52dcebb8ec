"""The circuit breakers of all providers: one row each, changed under its lock."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.providers import ProviderCircuitRow, ProviderRow
from cortex.domain.providers.circuit import Circuit, CircuitRules, CircuitState

CHANNEL = "cortex_provider_circuits"

Step = Callable[[Circuit, datetime], Circuit | None]
"""What becomes of a circuit at a time; None: nothing."""


class CircuitRepository(Repository[Access]):
    async def all(self) -> dict[str, Circuit]:
        """Those that were ever anything but closed and faultless."""
        rows = (await self.connection.execute(select(ProviderCircuitRow.__table__))).mappings()
        return {
            row["provider_id"]: Circuit(
                state=CircuitState(row["state"]),
                failures=row["failures"],
                trips=row["trips"],
                since=row["since"],
                probe_at=row["probe_at"],
                reason=row["reason"],
            )
            for row in rows
        }

    async def failed(
        self: "CircuitRepository[Transacts]", provider_id: str, reason: str, rules: CircuitRules
    ) -> tuple[Circuit, Circuit]:
        """A call failed; the circuit before and after."""
        return await self._step(provider_id, lambda now, at: now.failed(reason, at, rules))

    async def succeeded(
        self: "CircuitRepository[Transacts]", provider_id: str
    ) -> tuple[Circuit, Circuit]:
        """A call was answered; the circuit before and after."""
        return await self._step(provider_id, lambda now, at: now.succeeded(at))

    async def probe(
        self: "CircuitRepository[Transacts]", provider_id: str, rules: CircuitRules
    ) -> tuple[Circuit, Circuit]:
        """Let one probe in, if it is time; of several who ask at once only one gets it."""
        return await self._step(provider_id, lambda now, at: now.probing(at, rules))

    async def remove(self: "CircuitRepository[Writes]", provider_id: str) -> None:
        """With its provider."""
        await self.connection.execute(
            delete(ProviderCircuitRow).where(ProviderCircuitRow.provider_id == provider_id)
        )

    async def _step(
        self: "CircuitRepository[Transacts]", provider_id: str, step: Step
    ) -> tuple[Circuit, Circuit]:
        before, now = await self._locked(provider_id)
        after = step(before, now) or before
        if after != before:
            await self.connection.execute(
                update(ProviderCircuitRow)
                .where(ProviderCircuitRow.provider_id == provider_id)
                .values(
                    state=after.state.value,
                    failures=after.failures,
                    trips=after.trips,
                    since=after.since,
                    probe_at=after.probe_at,
                    reason=after.reason,
                )
            )
        return before, after

    async def _locked(
        self: "CircuitRepository[Transacts]", provider_id: str
    ) -> tuple[Circuit, datetime]:
        table = ProviderCircuitRow.__table__
        # `clock_timestamp` and not `now`: who waited for the lock must not act in the past.
        query = (
            select(table, func.clock_timestamp().label("at"))
            .where(table.c.provider_id == provider_id)
            .with_for_update()
        )
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            # Only for a provider that is there: a late call must not bring back a removed one.
            known = select(ProviderRow.id).where(ProviderRow.id == provider_id)
            await self.connection.execute(
                insert(ProviderCircuitRow)
                .from_select(["provider_id"], known)
                .on_conflict_do_nothing()
            )
            row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            at = (await self.connection.execute(select(func.clock_timestamp()))).scalar_one()
            return Circuit(), at
        circuit = Circuit(
            state=CircuitState(row["state"]),
            failures=row["failures"],
            trips=row["trips"],
            since=row["since"],
            probe_at=row["probe_at"],
            reason=row["reason"],
        )
        return circuit, row["at"]
