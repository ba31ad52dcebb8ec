"""The circuit breakers as one worker sees them: read from the database, fed by its calls."""

from datetime import UTC, datetime

import structlog

from cortex.db.engine import Database, Transaction
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.events import EventType
from cortex.domain.providers.circuit import Circuit, CircuitRules, CircuitState, change_words
from providers.errors import Unavailable

_log = structlog.get_logger(__name__)


class Breakers:
    """All providers' circuits, as last read; every change is made in the database.

    While the database is away nothing is counted: nothing can be placed then either.
    """

    def __init__(self, database: Database, rules: CircuitRules) -> None:
        self._database = database
        self._rules = rules
        self._known: dict[str, Circuit] = {}

    async def refresh(self) -> None:
        """Read what other workers wrote."""
        async with self._database.reading() as tx:
            self._known = await tx.circuits.all()

    async def admit(self, provider_id: str) -> None:
        """Let a new placement through, perhaps as the probe.

        Raises:
            Unavailable: the circuit is open, or its probe is on its way; says since when.
        """
        circuit = self._known.get(provider_id)
        if circuit is None or circuit.state is CircuitState.CLOSED:
            return
        if not await self.probe(provider_id):
            raise Unavailable(self._known[provider_id].objection() or "its circuit is open")

    async def probe(self, provider_id: str) -> bool:
        """Become the probe of a circuit that is due; False if it is not, or another was first."""
        circuit = self._known.get(provider_id)
        if circuit is None or circuit.probe_at is None or circuit.state is CircuitState.CLOSED:
            return False
        if datetime.now(UTC) < circuit.probe_at:
            return False
        async with self._database.transaction() as tx:
            before, after = await tx.circuits.probe(provider_id, self._rules)
            await self._tell(tx, provider_id, before, after)
        self._known[provider_id] = after
        return after != before

    async def failed(self, provider_id: str, why: str) -> None:
        """A call was not answered, or its outcome is not known."""
        try:
            async with self._database.transaction() as tx:
                before, after = await tx.circuits.failed(provider_id, why, self._rules)
                await self._tell(tx, provider_id, before, after)
        except DatabaseUnavailable as error:
            _log.warning("breaker.database_away", provider=provider_id, error=error.detail)
            return
        self._known[provider_id] = after

    async def answered(self, provider_id: str) -> None:
        """A call was answered, be it by a refusal."""
        circuit = self._known.get(provider_id)
        if circuit is None or circuit.state is CircuitState.OPEN:
            return
        if circuit.state is CircuitState.CLOSED and not circuit.failures:
            return  # the usual case costs nothing
        try:
            async with self._database.transaction() as tx:
                before, after = await tx.circuits.succeeded(provider_id)
                await self._tell(tx, provider_id, before, after)
        except DatabaseUnavailable as error:
            _log.warning("breaker.database_away", provider=provider_id, error=error.detail)
            return
        self._known[provider_id] = after

    async def _tell(
        self, tx: Transaction, provider_id: str, before: Circuit, after: Circuit
    ) -> None:
        if after.state is before.state and after.probe_at == before.probe_at:
            return
        now = after.since or datetime.now(UTC)
        data = {
            "from": before.state.value,
            "to": after.state.value,
            "failures": after.failures,
            "reason": after.reason,
            "probe_at": after.probe_at.isoformat() if after.probe_at else None,
            "message": change_words(after, now),
        }
        _log.warning("provider.circuit", provider=provider_id, **data)
        await tx.events.add(EventType.PROVIDER_CIRCUIT_CHANGED, provider_id, data=data)
