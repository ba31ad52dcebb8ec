"""Bills: debit notes while a lease runs, the invoice at its end.

Each is checked against our own reckoning and accepted to the last digit or refused with a reason.
The daemon books parallel acceptances of one document several times: whoever pays holds the lease's
lock, and after a lost answer the status is read before anything is tried again.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from providers.errors import OutcomeUnknown, Unavailable
from providers.golem.activities import Activities
from providers.golem.agreements import Agreements, terms_of
from providers.golem.allocations import PAYMENT, Allocations
from providers.golem.config import GolemConfig
from providers.golem.daemon import Daemon, parse
from providers.golem.demand import ALLOCATION, NOTE_INTERVAL
from providers.golem.terms import CPU, DURATION
from providers.golem.wire import Agreement, DebitNote, Invoice

BillT = TypeVar("BillT", DebitNote, Invoice)
PAID = ("ACCEPTED", "SETTLED")
_DUST = Decimal("0.000001")
_CLOCKS = Decimal(15)
_PAGE = 100
_BEFORE = timedelta(minutes=5)
_TRIES = 4


@dataclass(frozen=True)
class Bills:
    """All bills of one agreement."""

    notes: list[DebitNote] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)

    @property
    def accepted(self) -> Decimal:
        """What was promised by accepting notes: they add up, one activity at a time."""
        return _sum_by_activity([note for note in self.notes if note.status in PAID])

    @property
    def billed(self) -> Decimal:
        """The newest claims, accepted or not."""
        claims = [note for note in self.notes if note.status in (*PAID, "RECEIVED")]
        return _sum_by_activity(claims)

    @property
    def paid_invoice(self) -> Invoice | None:
        return next((invoice for invoice in self.invoices if invoice.status in PAID), None)


class Payments:
    """Answers the bills of leases, one lease at a time."""

    def __init__(
        self,
        daemon: Daemon,
        agreements: Agreements,
        activities: Activities,
        allocations: Allocations,
        config: GolemConfig,
    ) -> None:
        self._daemon = daemon
        self._agreements = agreements
        self._activities = activities
        self._allocations = allocations
        self._config = config

    async def bills(self, agreement: Agreement) -> Bills:
        """What the provider has sent so far."""
        after = agreement.timestamp - _BEFORE
        notes = await self._pages(DebitNote, "debitNotes", after)
        invoices = await self._pages(Invoice, "invoices", after)
        mine = agreement.agreement_id
        payer = agreement.demand.requestor_id
        return Bills(
            [n for n in notes if n.agreement_id == mine and n.recipient_id == payer],
            [i for i in invoices if i.agreement_id == mine and i.recipient_id == payer],
        )

    async def reckon(self, agreement: Agreement) -> tuple[Decimal, Decimal]:
        """Cost and seconds by our own reckoning, from the usage that the provider reports."""
        terms = terms_of(agreement)
        cost = seconds = Decimal(0)
        for activity_id in await self._activities.of(agreement.agreement_id):
            usage = await self._activities.usage(activity_id)
            counted = usage.current_usage if usage is not None else None
            cost += terms.cost(counted or [])
            seconds += terms.counted(counted or [], DURATION)
        return cost, seconds

    async def tend(self, agreement: Agreement) -> str | None:
        """Answer the notes of a running lease; why it must be ended, or None.

        The caller holds the lease's lock.
        """
        bills = await self.bills(agreement)
        for note in sorted(bills.notes, key=lambda bill: bill.timestamp):
            if note.status != "RECEIVED":
                continue
            wrong = await self._wrong_note(agreement, note)
            if wrong is not None:
                return wrong
            if not await self._accept(agreement, "debitNotes", note.debit_note_id, note):
                return "the debit note does not fit into what is set aside for this lease"
        return await self._over_budget(agreement, bills)

    async def settle(self, agreement: Agreement) -> None:
        """Answer the invoice of an ended lease, then give the rest of the money back.

        The caller holds the lease's lock.

        Raises:
            Unavailable: the invoice has not come yet.
        """
        allocation_id = str(agreement.demand.properties.get(ALLOCATION, ""))
        if await self._allocations.get(allocation_id) is None:
            return  # settled before
        if await self._activities.of(agreement.agreement_id):
            await self._answer_invoice(agreement)
        await self._allocations.release(allocation_id)

    async def settled(self, agreement: Agreement) -> bool:
        """Whether nothing can be paid for it any more: its money was given back."""
        allocation_id = str(agreement.demand.properties.get(ALLOCATION, ""))
        return await self._allocations.get(allocation_id) is None

    async def _answer_invoice(self, agreement: Agreement) -> None:
        ends = time.monotonic() + self._config.invoice_wait.total_seconds()
        while True:
            bills = await self.bills(agreement)
            if bills.invoices:
                break
            if await self._too_late(agreement):
                return
            if time.monotonic() > ends:
                raise Unavailable(
                    "the provider has not sent its invoice yet; it is waited for "
                    f"{self._config.invoice_deadline.total_seconds():g} s in all"
                )
            await asyncio.sleep(min(2.0, self._config.invoice_wait.total_seconds() / 20))
        paid = bills.paid_invoice
        for invoice in sorted(bills.invoices, key=lambda bill: bill.timestamp):
            if invoice.status != "RECEIVED":
                continue
            if paid is None and await self._judge(agreement, invoice, bills):
                paid = invoice
            elif paid is not None:
                text = f"invoice {paid.invoice_id[:8]} was accepted for this agreement already"
                await self._reject(invoice, "UNSOLICITED_SERVICE", text)

    async def _judge(self, agreement: Agreement, invoice: Invoice, bills: Bills) -> bool:
        """Whether the invoice was accepted."""
        wrong = await self._wrong_invoice(agreement, invoice, bills)
        if wrong is None and await self._accept(agreement, "invoices", invoice.invoice_id, invoice):
            return True
        text = wrong or "the amount is more than was set aside for this agreement"
        await self._reject(invoice, "INCORRECT_AMOUNT", text)
        return False

    async def _too_late(self, agreement: Agreement) -> bool:
        """Whether the time for an invoice is over: then what was accepted is the bill."""
        ended = await self._agreements.termination(agreement.agreement_id)
        if ended is None:
            return False
        return datetime.now(UTC) - ended.event_date > self._config.invoice_deadline

    async def _accept(
        self, agreement: Agreement, kind: str, name: str, document: DebitNote | Invoice
    ) -> bool:
        """Accept to the last digit; False where the allocation does not cover it."""
        amount = _amount(document)
        body = {
            "totalAmountAccepted": f"{amount:f}",
            "allocationId": str(agreement.demand.properties.get(ALLOCATION, "")),
        }
        path = f"{PAYMENT}/{kind}/{name}/accept"
        for _ in range(_TRIES):
            try:
                answer = await self._daemon.effect(
                    "POST", path, body, expect=(400, 404, 410), wait=15
                )
                return answer.ok or await self._is_paid(kind, name)
            except OutcomeUnknown:
                # Accepted here already, though the provider's word is late: read, never repeat.
                if await self._is_paid(kind, name):
                    return True
                await asyncio.sleep(0.2)
        raise Unavailable(f"a bill of {amount:f} could not be accepted yet")

    async def _is_paid(self, kind: str, name: str) -> bool:
        path = f"{PAYMENT}/{kind}/{name}"
        if kind == "invoices":
            return (await self._daemon.get(Invoice, path)).status in PAID
        return (await self._daemon.get(DebitNote, path)).status in PAID

    async def _reject(self, invoice: Invoice, reason: str, text: str) -> None:
        body = {"rejectionReason": reason, "totalAmountAccepted": "0", "message": text}
        await self._daemon.effect(
            "POST",
            f"{PAYMENT}/invoices/{invoice.invoice_id}/reject",
            body,
            expect=(400, 404, 501),
            wait=15,
        )

    async def _wrong_note(self, agreement: Agreement, note: DebitNote) -> str | None:
        """What is wrong with a debit note, in words; None where nothing is."""
        terms = terms_of(agreement)
        counted = note.usage_counter_vector or []
        if counted:
            owed = terms.cost(counted)
            if note.total_amount_due > self._with_slack(owed):
                return (
                    f"a debit note asks {note.total_amount_due:f} for a usage that costs {owed:f}"
                )
        since = agreement.approved_date or agreement.timestamp
        # Where the daemon's clock is ahead of ours, its own times are compared with each other.
        now = datetime.now(UTC)
        passed = (now if now > since else note.timestamp) - since
        most = max(Decimal(str(passed.total_seconds())), Decimal(0)) + _CLOCKS
        if terms.counted(counted, DURATION) > most:
            return "a debit note counts more time than has passed"
        if terms.counted(counted, CPU) > most * terms.threads:
            return "a debit note counts more processor time than the machine has"
        if note.total_amount_due > self._with_slack(terms.estimate(most)):
            return f"a debit note asks {note.total_amount_due:f}, more than the time can cost"
        return None

    async def _wrong_invoice(
        self, agreement: Agreement, invoice: Invoice, bills: Bills
    ) -> str | None:
        ours, _ = await self.reckon(agreement)
        most = self._with_slack(max(ours, bills.accepted))
        if invoice.amount > most:
            return f"{invoice.amount:f} are asked for a usage that costs {ours:f}"
        return None

    async def _over_budget(self, agreement: Agreement, bills: Bills) -> str | None:
        """Whether one more interval would not fit into what is set aside."""
        allocation_id = str(agreement.demand.properties.get(ALLOCATION, ""))
        allocation = await self._allocations.get(allocation_id)
        if allocation is None:
            return "the money that was set aside for this lease is gone"
        ours, _ = await self.reckon(agreement)
        terms = terms_of(agreement)
        interval = Decimal(str(NOTE_INTERVAL.total_seconds()))
        next_one = max(ours, bills.billed) + terms.hourly / 3600 * interval
        if max(ours, bills.billed) > allocation.total_amount or (
            next_one > allocation.total_amount and ours * 2 > allocation.total_amount
        ):
            return "the budget of this lease is used up"
        return None

    def _with_slack(self, amount: Decimal) -> Decimal:
        return amount * (1 + self._config.overcharge) + _DUST

    async def _pages(self, kind: type[BillT], name: str, after: datetime) -> list[BillT]:
        """Every document since a moment; the daemon gives at most a hundred at once."""
        bills: dict[str, BillT] = {}
        while True:
            params = {"afterTimestamp": after.isoformat(), "maxItems": _PAGE}
            body = (await self._daemon.read(f"{PAYMENT}/{name}", params=params)).body
            page = [parse(kind, bill, name) for bill in body or []]
            fresh = {_id(bill): bill for bill in page if _id(bill) not in bills}
            bills.update(fresh)
            if len(page) < _PAGE or not fresh:
                return list(bills.values())
            after = max(bill.timestamp for bill in page) - timedelta(milliseconds=1)


def _id(bill: DebitNote | Invoice) -> str:
    return bill.invoice_id if isinstance(bill, Invoice) else bill.debit_note_id


def _amount(bill: DebitNote | Invoice) -> Decimal:
    return bill.amount if isinstance(bill, Invoice) else bill.total_amount_due


def _sum_by_activity(notes: list[DebitNote]) -> Decimal:
    """Notes of one activity are cumulative: the largest is the claim."""
    most: dict[str, Decimal] = {}
    for note in notes:
        most[note.activity_id] = max(most.get(note.activity_id, Decimal(0)), note.total_amount_due)
    return sum(most.values(), Decimal(0))
