"""A small provider agent: offers, agrees, runs activities, bills; through the daemon's own REST."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.providers.golem.real.daemon import PLATFORM, Daemon
from tests.providers.golem.real.exeunit import ExeUnit
from tests.providers.golem.real.gsb import Bus

_log = logging.getLogger(__name__)
COEFFS = (Decimal("0.001"), Decimal("0.0005"), Decimal("0.01"))
_LONG_AGO = "2020-01-01T00:00:00Z"


@dataclass
class _Job:
    agreement: str
    unit: ExeUnit
    note: str | None = None


@dataclass
class Behaviour:
    """What this provider does; a test changes it."""

    approves: bool = True
    notes_every: float | None = None
    overcharge: Decimal = Decimal(0)
    rejected: list[str] = field(default_factory=list)


class Agent:
    """Plays the provider of one daemon, as `ya-provider` would."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self._daemon = daemon
        self.folder = folder
        self._client = daemon.client(daemon.provider_key)
        self._bus = Bus()
        self._jobs: dict[str, _Job] = {}
        self._billed: dict[str, str] = {}
        self._terminated: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.behaviour = Behaviour()
        self.invoices: dict[str, str] = {}

    async def start(self) -> None:
        await self._bus.open(self._daemon.bus)
        offer = await self._post("/market-api/v1/offers", self._offer())
        loops = [self._negotiate(str(offer)), self._agreements(), self._activities(), self._notes()]
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job in self._jobs.values():
            with contextlib.suppress(Exception):
                await job.unit.leave()
        await self._bus.close()
        await self._client.aclose()

    def lose_the_bus(self) -> None:
        """As after a minute in which nobody answered its pings."""
        self._bus.drop()

    def told(self) -> str:
        """What it is doing, for a test that failed."""
        loops = ", ".join("ended" if task.done() else "on" for task in self._tasks)
        return "\n".join([f"loops: {loops}", *(job.unit.told() for job in self._jobs.values())])

    async def cost(self, activity: str) -> Decimal:
        """What this provider charges for an activity so far."""
        duration, cpu = (Decimal(str(value)) for value in self._jobs[activity].unit.usage)
        return COEFFS[0] * duration + COEFFS[1] * cpu + COEFFS[2]

    async def bill_now(self, activity: str) -> str:
        """Send a debit note for an activity; its id."""
        job = self._jobs[activity]
        await job.unit.tell_usage()
        duration, cpu = job.unit.usage
        total = COEFFS[0] * Decimal(str(duration)) + COEFFS[1] * Decimal(str(cpu)) + COEFFS[2]
        body = {
            "activityId": activity,
            "totalAmountDue": str(total + self.behaviour.overcharge),
            "usageCounterVector": [duration, cpu],
            "paymentDueDate": None,
        }
        note = await self._post("/payment-api/v1/debitNotes", body)
        await self._post(f"/payment-api/v1/debitNotes/{note['debitNoteId']}/send", None)
        self._billed[activity] = note["totalAmountDue"]
        return str(note["debitNoteId"])

    async def invoice(self, agreement: str) -> str:
        """Send the invoice of an agreement; its id."""
        activities = [name for name, job in self._jobs.items() if job.agreement == agreement]
        amount = sum([await self.cost(name) for name in activities], self.behaviour.overcharge)
        body = {
            "agreementId": agreement,
            "activityIds": activities,
            "amount": str(amount),
            "paymentDueDate": _soon(hours=1),
        }
        made = await self._post("/payment-api/v1/invoices", body)
        await self._post(f"/payment-api/v1/invoices/{made['invoiceId']}/send", None)
        self.invoices[agreement] = str(made["invoiceId"])
        return str(made["invoiceId"])

    def unit_of(self, agreement: str) -> ExeUnit:
        """The machine of an agreement's activity."""
        return self._jobs[self.activity_of(agreement)].unit

    def activity_of(self, agreement: str) -> str:
        return next(name for name, job in self._jobs.items() if job.agreement == agreement)

    def _offer(self) -> dict[str, Any]:
        return {
            "properties": {
                "golem.node.id.name": "tester",
                "golem.node.debug.subnet": "cortex-test",
                "golem.runtime.name": "vm",
                "golem.runtime.capabilities": ["vpn"],
                "golem.inf.cpu.threads": 4,
                "golem.inf.cpu.cores": 4,
                "golem.inf.cpu.architecture": "x86_64",
                "golem.inf.mem.gib": 8.0,
                "golem.inf.storage.gib": 50.0,
                "golem.com.pricing.model": "linear",
                "golem.com.pricing.model.linear.coeffs": [float(value) for value in COEFFS],
                "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
                f"golem.com.payment.platform.{PLATFORM}.address": self._daemon.provider,
                "golem.com.payment.protocol.version": 3,
                "golem.com.scheme": "payu",
            },
            "constraints": "()",
        }

    async def _negotiate(self, offer: str) -> None:
        while True:
            path = f"/market-api/v1/offers/{offer}/events"
            for event in await self._get(path, timeout=1, maxEvents=10):
                with self._going_on(event["eventType"]):
                    if event["eventType"] == "ProposalEvent":
                        await self._proposal(offer, event["proposal"])
                    elif event["eventType"] == "AgreementEvent":
                        await self._agree(event["agreement"]["agreementId"])

    async def _proposal(self, offer: str, proposal: dict[str, Any]) -> None:
        path = f"/market-api/v1/offers/{offer}/proposals/{proposal['proposalId']}"
        if "golem.com.payment.chosen-platform" not in proposal["properties"]:
            reason = {"message": "no payment platform", "golem.proposal.rejection.is-final": False}
            await self._post(f"{path}/reject", reason)
            return
        await self._post(path, self._offer())

    async def _agree(self, agreement: str) -> None:
        path = f"/market-api/v1/agreements/{agreement}"
        if self.behaviour.approves:
            await self._post(f"{path}/approve?timeout=10", None)
        else:
            self.behaviour.rejected.append(agreement)
            await self._post(f"{path}/reject", {"message": "busy"})

    async def _agreements(self) -> None:
        """Bill what ended."""
        after = _LONG_AGO
        while True:
            path = "/market-api/v1/agreementEvents"
            for event in await self._get(path, timeout=1, maxEvents=10, afterTimestamp=after):
                after = event["eventDate"]
                ended = event["agreementId"]
                kind = event.get("eventType") or event.get("eventtype")
                if kind == "AgreementTerminatedEvent" and ended not in self._terminated:
                    self._terminated.add(ended)
                    if any(job.agreement == ended for job in self._jobs.values()):
                        with self._going_on(kind):
                            await self.invoice(ended)

    async def _activities(self) -> None:
        after = _LONG_AGO
        while True:
            path = "/activity-api/v1/events"
            for event in await self._get(path, timeout=1, maxEvents=10, afterTimestamp=after):
                after = event["eventDate"]
                kind = next(iter(event["eventType"]))
                name = event["activityId"]
                with self._going_on(kind):
                    if kind == "CreateActivity" and name not in self._jobs:
                        await self._create(name, event["agreementId"])
                    elif kind == "DestroyActivity" and name in self._jobs:
                        await self._jobs[name].unit.stop()

    async def _create(self, name: str, agreement: str) -> None:
        unit = ExeUnit(self._bus, self._daemon.provider, name, self.folder / name[:12])
        self._jobs[name] = _Job(agreement, unit)
        await unit.start()

    @contextlib.contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """One event that comes to nothing must not end the loop for all that follow.

        A requestor that gave up meanwhile makes the daemon refuse; a slow machine, a timeout.
        """
        try:
            yield
        except (httpx.HTTPError, RuntimeError, TimeoutError, OSError):
            _log.exception("%s came to nothing", what)

    async def _notes(self) -> None:
        while True:
            await asyncio.sleep(self.behaviour.notes_every or 0.2)
            if self.behaviour.notes_every is not None:
                for name, job in list(self._jobs.items()):
                    if job.agreement not in self._terminated:
                        with self._going_on("a debit note"):
                            await self.bill_now(name)

    async def _get(self, path: str, **params: Any) -> list[dict[str, Any]]:
        try:
            answer = await self._client.get(path, params=params)
        except httpx.TransportError:  # the daemon is slow now: ask again
            _log.exception("%s was not answered", path)
            await asyncio.sleep(0.2)
            return []
        if answer.status_code == 408:  # nothing came while it waited
            return []
        answer.raise_for_status()
        entries: list[dict[str, Any]] = answer.json()
        return entries

    async def _post(self, path: str, body: Any) -> Any:
        answer = await self._client.post(path, json=body)
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"{path}: {answer.status_code} {answer.text}",
                request=answer.request, response=answer,
            )  # fmt: skip
        return answer.json() if answer.content else None


def _soon(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat().replace("+00:00", "Z")
