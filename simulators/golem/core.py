"""The daemon's books, and what the providers on the other side do by themselves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cortex.tasks import end_tasks
from simulators.golem.books import Books
from simulators.golem.exeunit import ExeUnits
from simulators.golem.filters import matches
from simulators.golem.nodes import accept_timeout, make_nodes, note_interval, objection
from simulators.golem.state import (
    LIVE,
    Activity,
    Agreement,
    Allocation,
    Batch,
    Bill,
    Demand,
    Node,
    Proposal,
    new_id,
    short_id,
    stamp,
)
from simulators.kit.clock import Clock

REQUESTOR = f"0x{0xC0:040x}"


@dataclass
class Habits:
    """What the providers do; a test changes it."""

    proposal_delay: float = 0.05
    answer_delay: float = 0.02
    invoice_delay: float = 0.1
    overcharge: Decimal = Decimal(0)
    invoices: int = 1
    """How many invoices come for one agreement."""
    rejects_agreements: int = 0
    """How many agreements are still turned down."""
    refuses_activities: int = 0
    """How many activities are still not created."""
    no_activity: float = 90


class Core:
    """State and time. Routes read and change it; nothing here knows HTTP."""

    def __init__(self, clock: Clock, units: ExeUnits, books: Books) -> None:
        self.clock = clock
        self.units = units
        self.books = books
        self.habits = Habits()
        self.wallet = Decimal(1000)
        self.nodes = make_nodes()
        self.demands: dict[str, Demand] = {}
        self.proposals: dict[str, Proposal] = {}
        self.agreements: dict[str, Agreement] = {}
        self.activities: dict[str, Activity] = {}
        self.allocations: dict[str, Allocation] = {}
        self.notes: dict[str, Bill] = {}
        self.invoices: dict[str, Bill] = {}
        self.scans: dict[str, list[dict[str, Any]]] = {}
        self.troubles: list[dict[str, Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> datetime:
        return self.clock.now()

    def later(self, delay: float, act: Callable[[], Awaitable[None]]) -> None:
        """Let a provider do something after a while."""

        async def wait() -> None:
            await asyncio.sleep(delay)
            await act()

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        await end_tasks(self._tasks)

    def keep(self, *items: Agreement | Activity | Allocation | Bill) -> None:
        """Write down what has changed."""
        for record in items:
            kind = type(record).__name__.lower()
            if isinstance(record, Bill):
                kind = "note" if record.id in self.notes else "invoice"
            self.books.put(kind, record.id, record)

    def keep_world(self) -> None:
        """Write down what tests and providers change: who is there, their habits, the wallet."""
        for node in self.nodes:
            facts = {"online": node.online, "rejects": node.rejects, "silent": node.silent}
            self.books.put("node", node.id, facts)
        self.books.put("world", "habits", asdict(self.habits))
        self.books.put("world", "wallet", self.wallet)

    async def restore(self) -> None:
        """Take up the books of an earlier process, and what was to come by itself."""
        nodes = {node.id: node for node in self.nodes}
        for name, facts in self.books.facts("node", {}).items():
            nodes[name].online, nodes[name].rejects = facts["online"], facts["rejects"]
            nodes[name].silent = facts["silent"]
        world = self.books.facts("world", {})
        self.habits = Habits(**world["habits"]) if world else self.habits
        self.wallet = world.get("wallet", self.wallet)
        known: dict[str, Callable[[str], Any]] = {
            "$node": nodes.__getitem__, "$agreement": self.agreements.__getitem__
        }  # fmt: skip
        self.agreements.update(self.books.of("agreement", Agreement, known))
        self.activities.update(self.books.of("activity", Activity, known))
        self.allocations.update(self.books.of("allocation", Allocation, known))
        self.notes.update(self.books.of("note", Bill, known))
        self.invoices.update(self.books.of("invoice", Bill, known))
        for name, batch in self.books.of("batch", Batch, known):
            activity_id, _, batch_id = name.partition("/")
            self.activities[activity_id].batches[batch_id] = batch
        for activity in self.activities.values():
            if activity.ended is None and activity.alive:
                self.units.resume(activity)
            elif self.units.there(activity.id):  # it died on its way
                await self.units.end(activity.id)
        self._take_up()

    def _take_up(self) -> None:
        """What providers were about to do when the process ended."""
        for agreement in list(self.agreements.values()):
            if agreement.state == "Pending":
                self.sent(agreement)
            elif agreement.state == "Approved":
                self._approved(agreement)
            elif agreement.state == "Terminated" and self._invoices_due(agreement):
                self.later(self.habits.invoice_delay, lambda a=agreement: self._invoice(a))  # type: ignore[misc]
        for note in list(self.notes.values()):
            limit = accept_timeout(note.agreement.demand["properties"])
            if note.status == "RECEIVED" and limit is not None:
                left = max(timedelta(0), note.timestamp + limit - self.now())
                self.later(left.total_seconds(), lambda n=note: self.unanswered(n))  # type: ignore[misc]

    def _invoices_due(self, agreement: Agreement) -> int:
        """How many invoices of an agreement that has ended are still to come."""
        there = sum(1 for bill in self.invoices.values() if bill.agreement is agreement)
        return max(0, self.habits.invoices - there) if self.of(agreement) else 0

    def publish(self, properties: dict[str, Any], constraints: str) -> Demand:
        """A new demand; providers that fit get to know it one after the other."""
        demand = Demand(f"{short_id()}-{new_id()}", properties, constraints, self.now())
        self.demands[demand.id] = demand
        fitting = [n for n in self.nodes if n.online and matches(constraints, n.properties)]
        for place, node in enumerate(fitting):
            delay = self.habits.proposal_delay * (1 + place / 10)
            self.later(delay, lambda node=node: self._propose(demand, node))  # type: ignore[misc]
        return demand

    async def _propose(self, demand: Demand, node: Node) -> None:
        if demand.id not in self.demands or not node.online:
            return
        offered = Proposal(
            id=f"R-{new_id()}", demand_id=demand.id, node=node, state="Initial", ours=False,
            properties=node.properties, constraints="()", timestamp=self.now(),
        )  # fmt: skip
        self.proposals[offered.id] = offered
        demand.events.append(self._event(offered))

    def counter(self, demand: Demand, to: Proposal, body: dict[str, Any]) -> Proposal:
        """Our answer to a proposal; the provider thinks about it."""
        to.countered = True
        mine = Proposal(
            id=f"R-{new_id()}", demand_id=demand.id, node=to.node, state="Draft", ours=True,
            properties=body["properties"], constraints=body["constraints"],
            timestamp=self.now(), previous=to.id,
        )  # fmt: skip
        self.proposals[mine.id] = mine
        self.later(self.habits.answer_delay, lambda: self._answer(demand, mine))
        return mine

    async def _answer(self, demand: Demand, mine: Proposal) -> None:
        node = mine.node
        if demand.id not in self.demands or not node.online:
            return
        wrong = objection(node, mine.properties, self.now(), self.busy(node))
        if wrong is not None:
            reason = {"message": wrong, "golem.proposal.rejection.is-final": False}
            demand.events.append(
                {
                    "eventType": "ProposalRejectedEvent",
                    "eventDate": stamp(self.now()),
                    "proposalId": mine.id,
                    "reason": reason,
                }
            )
            return
        draft = Proposal(
            id=f"R-{new_id()}", demand_id=demand.id, node=node, state="Draft", ours=False,
            properties=node.properties, constraints="()", timestamp=self.now(), previous=mine.id,
            answers={"properties": mine.properties, "constraints": mine.constraints},
        )  # fmt: skip
        self.proposals[draft.id] = draft
        demand.events.append(self._event(draft))

    def busy(self, node: Node) -> bool:
        """Stock providers take one agreement at a time."""
        return any(a.node is node and a.state == "Approved" for a in self.agreements.values())

    def _event(self, incoming: Proposal) -> dict[str, Any]:
        proposal = {
            "properties": incoming.properties,
            "constraints": incoming.constraints,
            "proposalId": incoming.id,
            "issuerId": incoming.node.id,
            "state": incoming.state,
            "timestamp": stamp(incoming.timestamp),
        }
        if incoming.previous is not None:
            proposal["prevProposalId"] = incoming.previous
        return {
            "eventType": "ProposalEvent",
            "eventDate": stamp(self.now()),
            "proposal": proposal,
        }

    def sent(self, agreement: Agreement) -> None:
        """The provider has got an agreement and decides."""
        agreement.state = "Pending"
        self.keep(agreement)
        if not agreement.node.silent:
            self.later(self.habits.answer_delay, lambda: self._decide(agreement))

    async def _decide(self, agreement: Agreement) -> None:
        if agreement.state != "Pending" or not agreement.node.online:
            return
        if self.habits.rejects_agreements > 0 or self.busy(agreement.node):
            self.habits.rejects_agreements = max(0, self.habits.rejects_agreements - 1)
            agreement.state = "Rejected"
            self._tell(agreement, "AgreementRejectedEvent", reason={"message": "busy"})
            self.keep(agreement)
            return
        agreement.state = "Approved"
        agreement.approved = self.now()
        self._tell(agreement, "AgreementApprovedEvent")
        self.keep(agreement)
        self._approved(agreement)

    def _approved(self, agreement: Agreement) -> None:
        """What its provider does by the clock from now on."""
        since = (self.now() - (agreement.approved or self.now())).total_seconds()
        left = max(0.0, self.habits.no_activity - since)
        self.later(left, lambda: self._unused(agreement))
        interval = note_interval(agreement.demand["properties"])
        if interval is not None:
            self.later(interval.total_seconds(), lambda: self._bill_on(agreement, interval))
        life = self._life(agreement)
        self.later(life, lambda: self.provider_ends(agreement, "Expired", "Agreement expired"))

    def _life(self, agreement: Agreement) -> float:
        at = float(agreement.demand["properties"]["golem.srv.comp.expiration"]) / 1000
        return max(0.0, at - self.now().timestamp())

    async def _unused(self, agreement: Agreement) -> None:
        if not self.of(agreement):
            await self.provider_ends(agreement, "NoActivity", "No activity created within 90s")

    async def _bill_on(self, agreement: Agreement, interval: timedelta) -> None:
        if agreement.state != "Approved":
            return
        for activity in self.of(agreement):
            if activity.ended is None:
                self.note(activity)
        self.later(interval.total_seconds(), lambda: self._bill_on(agreement, interval))

    def of(self, agreement: Agreement) -> list[Activity]:
        return [a for a in self.activities.values() if a.agreement is agreement]

    def note(self, activity: Activity, *, extra: Decimal = Decimal(0)) -> Bill:
        """A debit note; unanswered, it breaks the agreement."""
        agreement, now = activity.agreement, self.now()
        usage = activity.vector(now)
        earlier = [n.id for n in self.notes.values() if activity.id in n.activities]
        amount = activity.cost(now) + self.habits.overcharge + extra
        note = Bill(_uuid(), agreement, amount, now, [activity.id], usage=usage,
                    previous=earlier[-1] if earlier else None)  # fmt: skip
        self.notes[note.id] = note
        self.keep(note)
        limit = accept_timeout(agreement.demand["properties"])
        if limit is not None:
            self.later(limit.total_seconds(), lambda: self.unanswered(note))
        return note

    async def unanswered(self, note: Bill) -> None:
        if note.status == "RECEIVED":
            await self.provider_ends(
                note.agreement, "DebitNotesDeadline", "Requestor is not accepting DebitNotes"
            )

    async def provider_ends(self, agreement: Agreement, code: str, text: str) -> None:
        """The provider breaks the agreement off."""
        if agreement.state == "Approved":
            for activity in self.of(agreement):
                await self.finish(activity)
            self.terminate(agreement, "Provider", {"message": text, "golem.provider.code": code})

    def terminate(self, agreement: Agreement, by: str, reason: Any) -> None:
        agreement.state = "Terminated"
        agreement.ended = self._tell(
            agreement, "AgreementTerminatedEvent", terminator=by, signature="", reason=reason
        )
        self.keep(agreement)
        if self.of(agreement):
            self.later(self.habits.invoice_delay, lambda: self._invoice(agreement))

    async def finish(self, activity: Activity) -> None:
        """The activity is over; its counters stand still."""
        if activity.ended is None:
            activity.ended = self.now()
            activity.state, activity.pending, activity.alive = "Terminated", None, False
            self.keep(activity)
            await self.units.end(activity.id)

    async def _invoice(self, agreement: Agreement) -> None:
        for _ in range(self._invoices_due(agreement)):
            activities = self.of(agreement)
            for activity in activities:
                await self.finish(activity)
            amount = sum((a.cost(self.now()) for a in activities), self.habits.overcharge)
            bill = Bill(_uuid(), agreement, amount, self.now(), [a.id for a in activities],
                        due=self.now() + timedelta(days=1))  # fmt: skip
            self.invoices[bill.id] = bill
            self.keep(bill)

    def promised(self, agreement: Agreement) -> Decimal:
        """What was accepted for an agreement so far: only the increase is charged."""
        paid = [b for b in self.invoices.values() if b.agreement is agreement and _paid(b)]
        if paid:
            return max(b.amount for b in paid)
        most: dict[str, Decimal] = {}
        for note in self.notes.values():
            if note.agreement is agreement and _paid(note):
                name = note.activities[0]
                most[name] = max(most.get(name, Decimal(0)), note.amount)
        return sum(most.values(), Decimal(0))

    def held(self) -> Decimal:
        """What all allocations keep from the wallet."""
        return sum((a.total - a.spent for a in self.allocations.values()), Decimal(0))

    def live(self, key: str) -> Agreement:
        """The live agreement of a lease key.

        Raises:
            KeyError: there is none.
        """
        for agreement in self.agreements.values():
            if agreement.session == key and agreement.state in LIVE:
                return agreement
        raise KeyError(f"no live agreement under `{key}`")

    def _tell(self, agreement: Agreement, kind: str, **more: Any) -> dict[str, Any]:
        event = {
            "eventDate": stamp(self.now()),
            "agreementId": agreement.id,
            "eventType": kind,
            **more,
        }
        agreement.events.append(event)
        return event


def _paid(bill: Bill) -> bool:
    return bill.status in ("ACCEPTED", "SETTLED")


def _uuid() -> str:
    text = short_id()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
