"""The circuit breaker of a provider: after enough failures in a row it takes no new placements.

Pure: state in, state out. The database keeps the state, so all workers share it
(`cortex.db.providers.circuits`), and `now` is the database's clock.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Duration
from cortex.domain.units import format_duration

_MAX_REASON = 500


class CircuitState(StrEnum):
    CLOSED = "closed"
    """All goes as usual."""
    OPEN = "open"
    """No new placement until the next probe."""
    HALF_OPEN = "half_open"
    """One probe is on its way; its result decides."""


class CircuitRules(BaseModel):
    """When a circuit opens and how long it stays so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failures: int = Field(
        default=5, ge=1, description="Failed calls in a row after which a provider rests."
    )
    open_for: Duration = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        description="How long it rests; twice as long each time it fails again.",
    )
    longest: Duration = Field(
        default=timedelta(minutes=10), gt=timedelta(0), description="It rests no longer than this."
    )
    probe_timeout: Duration = Field(
        default=timedelta(minutes=1),
        gt=timedelta(0),
        description="A probe that has not answered by then is given up, and another one let in.",
    )


@dataclass(frozen=True)
class Circuit:
    """The state of one provider's breaker.

    `probe_at` is when the next probe may start: while open the end of the rest, while half-open
    the moment at which the present probe is given up. `trips` counts openings in a row.
    """

    state: CircuitState = CircuitState.CLOSED
    failures: int = 0
    trips: int = 0
    since: datetime | None = None
    probe_at: datetime | None = None
    reason: str = ""

    def failed(self, reason: str, now: datetime, rules: CircuitRules) -> "Circuit":
        """After a call that failed. While it is open that is no news."""
        reason = reason[:_MAX_REASON]
        if self.state is CircuitState.OPEN:
            return self
        if self.state is CircuitState.HALF_OPEN:
            return self._opened(self.trips + 1, reason, now, rules)
        failures = self.failures + 1
        if failures < rules.failures:
            return replace(self, failures=failures, reason=reason)
        recently = self.since is not None and now - self.since < rules.longest
        opened = self._opened(self.trips + 1 if recently else 1, reason, now, rules)
        return replace(opened, failures=failures)

    def succeeded(self, now: datetime) -> "Circuit":
        """After a call that was answered, be it by a refusal. While open it waits for a probe."""
        if self.state is CircuitState.OPEN:
            return self
        if self.state is CircuitState.HALF_OPEN:
            return Circuit(trips=self.trips, since=now)
        return replace(self, failures=0, reason="") if self.failures else self

    def probing(self, now: datetime, rules: CircuitRules) -> "Circuit | None":
        """With a probe let in; None if none may start now."""
        if self.state is CircuitState.CLOSED or self.probe_at is None or now < self.probe_at:
            return None
        since = now if self.state is CircuitState.OPEN else self.since
        return replace(
            self, state=CircuitState.HALF_OPEN, since=since, probe_at=now + rules.probe_timeout
        )

    def objection(self) -> str:
        """Why the provider takes no new placement; empty if it does."""
        if self.state is CircuitState.CLOSED or self.since is None or self.probe_at is None:
            return ""
        why = f" ({self.reason})" if self.reason else ""
        since = f"{self.since:%H:%M:%S} UTC"
        if self.state is CircuitState.HALF_OPEN:
            return f"its circuit is half-open since {since}: one probe is on its way{why}"
        return f"its circuit is open since {since}, next probe at {self.probe_at:%H:%M:%S} UTC{why}"

    def _opened(self, trips: int, reason: str, now: datetime, rules: CircuitRules) -> "Circuit":
        rest = min(rules.open_for * 2 ** min(trips - 1, 16), rules.longest)
        return replace(
            self,
            state=CircuitState.OPEN,
            trips=trips,
            since=now,
            probe_at=now + rest,
            reason=reason,
        )


def change_words(circuit: Circuit, now: datetime) -> str:
    """What a transition means, for its event."""
    if circuit.state is CircuitState.CLOSED:
        return "it answers again and takes placements"
    if circuit.state is CircuitState.HALF_OPEN:
        return "one probe is let in; its result decides"
    rest = circuit.probe_at - now if circuit.probe_at else timedelta(0)
    whole = format_duration(timedelta(seconds=max(1, round(rest.total_seconds()))))
    return f"it takes no new placements; probed again in {whole}"
