"""From a demand to an approved agreement: phase one on the open market.

Nothing of it is lost in a crash that matters: before the confirmation nothing binds anybody, and
after it the agreement is found under the lease's key. Demands vanish when the daemon restarts; one
that is gone is published anew.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.money import format_amount
from providers.base import Report
from providers.errors import NoCapacity, OutcomeUnknown, ProviderError, Unavailable
from providers.golem import demand as names
from providers.golem.agreements import MARKET, Agreements
from providers.golem.config import GolemConfig
from providers.golem.daemon import Daemon, parse
from providers.golem.demand import Demand
from providers.golem.terms import Terms
from providers.golem.wire import Agreement, MarketEvent, OwnDemand, Proposal

_POLL = 5.0
_BATCH = 100
_FOR_DRAFTS = 30.0


@dataclass(frozen=True)
class Limits:
    """What a proposal may cost, and who is preferred or not asked."""

    seconds: Decimal
    most: Decimal
    prefer: str = ""
    avoid: frozenset[str] = frozenset()


@dataclass
class _Table:
    """The proposals of one negotiation."""

    initial: dict[str, tuple[Decimal, Proposal]] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    drafts: dict[str, tuple[Decimal, Proposal]] = field(default_factory=dict)
    first_at: float | None = None
    seen: int = 0
    too_dear: int = 0
    turned_down: list[str] = field(default_factory=list)


class Negotiator:
    """Finds a provider for a demand and makes the agreement."""

    def __init__(self, daemon: Daemon, agreements: Agreements, config: GolemConfig) -> None:
        self._daemon = daemon
        self._agreements = agreements
        self._config = config

    async def agree(
        self,
        key: str,
        demand: Demand,
        private: Mapping[str, str],
        limits: Limits,
        report: Report,
    ) -> Agreement:
        """An approved agreement under this key.

        Raises:
            NoCapacity: nobody agreed in time; nothing is left behind.
        """
        await self._sweep(key)
        demand_id = await self._publish(demand, key)
        table = _Table()
        ends = time.monotonic() + self._config.negotiation_timeout.total_seconds()
        await report("looking for Golem providers")
        try:
            while (left := ends - time.monotonic()) > 0:
                events = await self._collect(demand_id, min(left, self._pause(table)))
                if events is None:
                    demand_id = await self._publish(demand, key)
                    table = _Table()
                    continue
                for event in events:
                    self._take(table, event, limits)
                made = await self._best_draft(table, key, report)
                if made is not None:
                    return made
                await self._counter(table, demand_id, demand, private, limits)
        finally:
            with suppress(ProviderError):
                await asyncio.shield(self._unpublish(demand_id))
        raise NoCapacity(_why(table, limits, self._config))

    async def settle_pending(self, agreement_id: str) -> Agreement | None:
        """An agreement that was sent, once it is approved; withdrawn where no word comes."""
        ends = time.monotonic() + self._config.approval_timeout.total_seconds()
        while (left := ends - time.monotonic()) > 0:
            said = await self._agreements.approved(agreement_id, min(left, 15.0))
            now = await self._agreements.get(agreement_id)
            if now is None or now.state not in ("Pending", "Proposal"):
                return now if now is not None and now.state == "Approved" else None
            if said is None:
                await asyncio.sleep(0.05)
        await self._agreements.withdraw(agreement_id)
        now = await self._agreements.get(agreement_id)
        return now if now is not None and now.state == "Approved" else None

    async def _publish(self, demand: Demand, key: str) -> str:
        try:
            answer = await self._daemon.effect("POST", f"{MARKET}/demands", demand.body())
        except OutcomeUnknown:
            for own in await self._own(key):
                return own.demand_id
            raise Unavailable("the yagna daemon did not publish the demand") from None
        return parse(str, answer.body, "/demands")

    async def _unpublish(self, demand_id: str) -> None:
        await self._daemon.effect("DELETE", f"{MARKET}/demands/{demand_id}", expect=(404, 410))

    async def _sweep(self, key: str) -> None:
        """Take back demands that an earlier, interrupted try has left."""
        for own in await self._own(key):
            await self._unpublish(own.demand_id)

    async def _own(self, key: str) -> list[OwnDemand]:
        listed = await self._daemon.get(list[OwnDemand], f"{MARKET}/demands")
        return [demand for demand in listed if demand.properties.get(names.KEY) == key]

    async def _collect(self, demand_id: str, seconds: float) -> list[MarketEvent] | None:
        """What is new; None where the daemon no longer knows the demand."""
        path = f"{MARKET}/demands/{demand_id}/events"
        answer = await self._daemon.read(
            path,
            params={"timeout": round(seconds, 2), "maxEvents": _BATCH},
            expect=(404, 408, 410),
            wait=seconds,
        )
        if answer.status == 408:
            return []
        return parse(list[MarketEvent], answer.body, path) if answer.ok else None

    def _pause(self, table: _Table) -> float:
        """How long the next question may wait: no longer than something is to be decided."""
        if table.first_at is None or not (table.initial or table.drafts):
            return _POLL
        return max(0.05, min(_POLL, self._ripe(table) - time.monotonic()))

    def _ripe(self, table: _Table) -> float:
        """From when on the proposals are compared."""
        return (table.first_at or time.monotonic()) + self._config.collect_for.total_seconds()

    def _take(self, table: _Table, event: MarketEvent, limits: Limits) -> None:
        if event.proposal is None:
            if event.event_type == "ProposalRejectedEvent":
                table.turned_down.append(str((event.reason or {}).get("message") or "no reason"))
                table.asked.pop(event.proposal_id or "", None)
            return
        proposal = event.proposal
        if proposal.issuer_id in limits.avoid:
            return
        table.seen += proposal.state == "Initial"
        terms = Terms.of(proposal.properties)
        price = terms.estimate(limits.seconds) if terms is not None else None
        if price is None or price > limits.most:
            table.too_dear += proposal.state == "Initial"
            return
        # The one whose offer was chosen wins a tie and a small difference.
        score = price if proposal.issuer_id != limits.prefer else price * Decimal("0.95")
        if proposal.state == "Initial":
            table.initial[proposal.proposal_id] = (score, proposal)
            table.first_at = table.first_at or time.monotonic()
        elif proposal.state == "Draft":
            table.drafts[proposal.proposal_id] = (score, proposal)
            table.asked.pop(proposal.prev_proposal_id or "", None)

    async def _counter(
        self,
        table: _Table,
        demand_id: str,
        demand: Demand,
        private: Mapping[str, str],
        limits: Limits,
    ) -> None:
        """Answer the best proposals, a few at a time, once there was time to compare."""
        now = time.monotonic()
        if not table.initial or now < self._ripe(table):
            return
        for silent in [name for name, since in table.asked.items() if now - since > _FOR_DRAFTS]:
            del table.asked[silent]
        for name, _ in sorted(table.initial.items(), key=_by_price):
            if len(table.asked) >= self._config.negotiate_with:
                return
            del table.initial[name]
            with suppress(OutcomeUnknown):
                answer = await self._daemon.effect(
                    "POST",
                    f"{MARKET}/demands/{demand_id}/proposals/{name}",
                    demand.with_private(private),
                    expect=(400, 404, 409, 410),
                    wait=10,
                )
                if answer.ok:
                    table.asked[parse(str, answer.body, "/proposals")] = now

    async def _best_draft(self, table: _Table, key: str, report: Report) -> Agreement | None:
        for name, (_, proposal) in sorted(table.drafts.items(), key=_by_price):
            del table.drafts[name]
            await report(f"asking Golem provider {_name(proposal)} for an agreement")
            made = await self._make(name, key, table)
            if made is not None:
                return made
        return None

    async def _make(self, proposal_id: str, key: str, table: _Table) -> Agreement | None:
        """One agreement; None where this provider does not want it after all."""
        approval = self._config.approval_timeout
        valid = datetime.now(UTC) + approval + timedelta(seconds=30)
        body = {"proposalId": proposal_id, "validTo": valid.isoformat().replace("+00:00", "Z")}
        try:
            answer = await self._daemon.effect(
                "POST", f"{MARKET}/agreements", body, expect=(400, 404, 409, 410)
            )
        except OutcomeUnknown:
            return None  # a draft that was never sent costs nothing and binds nobody
        if not answer.ok:
            table.turned_down.append(answer.message)
            return None
        agreement_id = parse(str, answer.body, "/agreements")
        await self._send(agreement_id, key)
        made = await self.settle_pending(agreement_id)
        if made is None:
            table.turned_down.append("the agreement was not approved")
        return made

    async def _send(self, agreement_id: str, key: str) -> None:
        """Confirm; the id is known, so a lost answer is cleared up by asking again."""
        for _ in range(3):
            try:
                await self._agreements.confirm(agreement_id, key)
                return
            except (OutcomeUnknown, Unavailable):
                now = await self._agreements.get(agreement_id)
                if now is not None and now.state != "Proposal":
                    return
        raise OutcomeUnknown("the yagna daemon does not say whether the agreement was sent")


def _by_price(priced: tuple[str, tuple[Decimal, Proposal]]) -> tuple[Decimal, str]:
    return priced[1][0], priced[0]


def _name(proposal: Proposal) -> str:
    name: Any = proposal.properties.get("golem.node.id.name")
    return f"`{name}`" if name else proposal.issuer_id[:10]


def _why(table: _Table, limits: Limits, config: GolemConfig) -> str:
    """In plain words, why there is no agreement."""
    place = f"on Golem's subnet `{config.subnet}`"
    if not table.seen:
        seconds = config.negotiation_timeout.total_seconds()
        return (
            f"no provider {place} has offered what the job needs within {seconds:g} s; a daemon "
            "that has just been started needs some minutes to learn the offers"
        )
    if table.too_dear == table.seen:
        most = f"{format_amount(limits.most)} {config.currency}"
        return f"all {table.seen} providers {place} ask more than {most} for this job"
    told = ", ".join(_counted(table.turned_down)[:3])
    return f"{table.seen} providers {place} fit, none agreed in time" + (f" ({told})" * bool(told))


def _counted(texts: Sequence[str]) -> list[str]:
    return [f"`{text[:80]}`" for text in dict.fromkeys(texts) if text]
