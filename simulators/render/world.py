"""The simulated network as a whole: machines take jobs, containers run, charges are booked."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, ClassVar

from fastapi import APIRouter

from simulators.kit.clock import Clock
from simulators.kit.runs import Runs, pullable
from simulators.kit.world import SimBill, SimLease, UnknownAction, World
from simulators.render import dispersed, gateway
from simulators.render.auth import Gatekeeper
from simulators.render.machines import Machines
from simulators.render.model import Book, SimJob
from simulators.render.renderer import Farm, forever
from simulators.render.settings import RenderSettings, SimOffer

_MICRO_DOLLAR = Decimal("0.000001")


class RenderWorld(World):
    """Dispersed and the gateway beside one another; they share nothing but the machine."""

    name: ClassVar[str] = "render"

    def __init__(
        self, folder: Path, clock: Clock, runs: Runs, settings: RenderSettings | None = None
    ) -> None:
        super().__init__(folder, clock, runs)
        self.settings = settings or RenderSettings()
        self.gatekeeper = Gatekeeper(clock)
        self.machines = Machines(runs, folder, self.settings.stand_in)
        self.farm = Farm(folder / "farm", clock, self.settings, stand_in=self.machines.stand_in)
        self.sold_out: set[str] = set()
        self._file = folder / "render.json"
        self._clockwork: asyncio.Task[None] | None = None
        self._rendering: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._last = datetime.min.replace(tzinfo=UTC)
        self.book = self._load()

    def router(self) -> APIRouter:
        router = APIRouter()
        router.include_router(dispersed.router(self))
        router.include_router(gateway.router(self))
        return router

    async def start(self) -> None:
        await asyncio.to_thread(self.machines.start_up)
        await self.farm.start()
        self._clockwork = asyncio.create_task(self._turn())
        self._rendering = asyncio.create_task(forever(self.farm, self.settings.tick))

    async def aclose(self) -> None:
        tasks = [task for task in (self._clockwork, self._rendering) if task is not None]
        tasks += self._stopping.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.farm.local.aclose()

    async def leases(self) -> list[SimLease]:
        containers = [
            SimLease(id=job.uuid, key=job.key, alive=not job.over)
            for job in self.book.jobs.values()
        ]
        return containers + [
            SimLease(id=job.id, key=job.order.client_ref, alive=not job.over)
            for job in self.farm.jobs.values()
        ]

    async def bill(self) -> list[SimBill]:
        farm = [
            SimBill(
                id=job.id,
                key=job.order.client_ref,
                amount=await self.farm.cost(job),
                currency="USD",
                final=job.over,
            )
            for job in self.farm.jobs.values()
        ]
        return farm + [
            SimBill(
                id=job.uuid,
                key=job.key,
                amount=self.owed(job),
                currency="USD",
                final=job.over,
            )
            for job in self.book.jobs.values()
        ]

    async def act(self, action: str, args: dict[str, Any]) -> dict[str, Any]:
        if action in ("lose_lease", "provider_dies"):
            job = self._meant(args)
            async with self._lock:
                await self.runs.signal(job.run_uuid, "KILL")  # no time for last words
                await self.runs.stop(job.run_uuid)
                self.end(job, "FAILED", "the node is gone")
            return {"id": job.uuid}
        if action == "drain_funds":
            self.book.funds = self.farm.funds = False
        elif action == "add_funds":
            self.book.funds = self.farm.funds = True
        elif action == "sell_out":
            self.sold_out |= {offer.offer_id for offer in self.settings.offers}
        elif action == "restock":
            self.sold_out.clear()
        elif action == "assign_dearer":
            self.book.dearer_next = int(args.get("times", 1))
        elif action == "dearer_every":
            self.book.dearer_every = int(args["count"])
        else:
            return await super().act(action, args)
        self.save()
        return {}

    async def end_all(self) -> None:
        """Stop and remove all that runs."""
        for job in self.book.jobs.values():
            await self.runs.remove(job.run_uuid)
        await self.farm.end_all()

    def moment(self) -> datetime:
        """A time that was never given before: what is listed by time has one order."""
        self._last = max(self.clock.now(), self._last + timedelta(microseconds=1))
        return self._last

    def fitting(self, body: dict[str, Any]) -> list[SimOffer]:
        """What a job could run on, cheapest first."""
        wanted = body.get("gpu_name")
        regions = body.get("allowed_region_codes") or []
        offers = [
            offer
            for offer in self.settings.offers
            if offer.offer_id not in self.sold_out
            and (not wanted or offer.gpu_name == wanted)
            and (not regions or offer.region_code in regions)
            and offer.vram_gb >= float(body.get("min_vram_gb") or 0)
        ]
        return sorted(offers, key=lambda offer: offer.hourly)

    def owed(self, job: SimJob) -> Decimal:
        """What a job costs: the time that its container ran."""
        if job.charge is not None:
            return job.charge
        if job.started_at is None:
            return Decimal(0)
        ended = job.finished_at or self.clock.now()
        micros = Decimal((ended - job.started_at) // timedelta(microseconds=1))
        amount = job.hourly * micros / 3_600_000_000
        return amount.quantize(_MICRO_DOLLAR, ROUND_HALF_UP)

    def charged(self, job: SimJob) -> bool:
        """Whether the ledger has its line already."""
        if job.charge is None or not job.charge or job.finished_at is None:
            return False
        age = (self.clock.now() - job.finished_at).total_seconds()
        return age >= self.settings.ledger_delay

    async def cancel(self, job: SimJob) -> None:
        """Ask for its end; the machine takes a moment."""
        async with self._lock:
            if job.over:
                return
            if job.started_at is None:
                self.end(job, "CANCELLED")
            else:
                job.status = "CANCELLING"
                job.updated_at = self.clock.now()
                self.save()

    def end(self, job: SimJob, status: str, message: str = "") -> None:
        """It is over; what it costs is known now."""
        now = self.clock.now()
        if job.started_at is not None and job.finished_at is None:
            job.finished_at = max(now, job.started_at)
        job.status, job.error_message, job.updated_at = status, message, now
        job.charge = self.owed(job)
        self.save()

    def save(self) -> None:
        """Write the books down."""
        partial = self._file.with_suffix(".new")
        partial.write_text(self.book.model_dump_json())
        os.replace(partial, self._file)

    async def _turn(self) -> None:
        while True:
            for job in list(self.book.jobs.values()):
                if not job.over:
                    async with self._lock:
                        await self._step(job)
            await asyncio.sleep(self.settings.tick)

    async def _step(self, job: SimJob) -> None:
        if job.over:
            return
        now = self.clock.now()
        age = (now - job.created_at).total_seconds()
        if job.status == "CANCELLING":
            if job.uuid not in self._stopping:
                self._stopping[job.uuid] = asyncio.create_task(self._stop(job))
        elif job.status == "PENDING" and age >= self.settings.assign_delay:
            self._assign(job, age)
        elif job.status == "ASSIGNED" and age >= (
            self.settings.assign_delay + self.settings.start_delay
        ):
            await self._begin(job)
        elif job.status == "RUNNING":
            await self._look(job, now)

    async def _stop(self, job: SimJob) -> None:
        """As containers are stopped: their first process is asked, and has a moment."""
        await self.runs.signal(job.run_uuid, "TERM")
        until = asyncio.get_running_loop().time() + self.settings.stop_grace
        while asyncio.get_running_loop().time() < until:
            seen = await self.runs.state(job.run_uuid)
            if seen is None or seen.state in ("exited", "lost"):
                break
            await asyncio.sleep(self.settings.tick / 2)
        await self.runs.stop(job.run_uuid)
        ended = await self.runs.state(job.run_uuid)
        async with self._lock:
            if not job.over:
                job.finished_at = ended.finished_at if ended else self.clock.now()
                self.end(job, "CANCELLED")
            self._stopping.pop(job.uuid, None)

    def _assign(self, job: SimJob, age: float) -> None:
        fitting = self.fitting(job.body)
        if fitting:
            asked = max(1, int(job.body["gpu_count"]))
            dearer = self._dearer()
            job.hourly = self.settings.dearer_hourly if dearer else fitting[0].hourly
            job.hardware = {"gpu_name": fitting[0].gpu_name, "gpu_count": 6 if dearer else asked}
            job.status = "ASSIGNED"
            job.updated_at = self.clock.now()
            self.save()
        elif age * 1000 > job.body["max_timeout_assign_ms"]:
            self.end(job, "FAILED", "no node took the job in time")

    def _dearer(self) -> bool:
        """Whether the next assignment is to a node that costs far more than was quoted."""
        book = self.book
        book.assigned += 1
        if book.dearer_next:
            book.dearer_next -= 1
            return True
        every = self.settings.dearer_every if book.dearer_every is None else book.dearer_every
        return bool(every) and book.assigned % every == 0

    async def _begin(self, job: SimJob) -> None:
        docker = job.body["parameters"]["parameters"]
        if not pullable(str(docker["image"])):
            self.end(job, "FAILED", "the image could not be pulled")
            return
        began = self.clock.now()
        await self.machines.start(job.run_uuid, docker)
        # It may have been started by a process that was killed before it could write that down.
        seen = await self.runs.state(job.run_uuid)
        job.started_at = (seen.started_at if seen else None) or began
        job.status = "RUNNING"
        job.updated_at = self.clock.now()
        self.save()

    async def _look(self, job: SimJob, now: datetime) -> None:
        seen = await self.runs.state(job.run_uuid)
        if seen is None or seen.state == "lost":
            self.end(job, "FAILED", "the node is gone")
        elif seen.state == "exited":
            job.finished_at = max(seen.finished_at or now, job.started_at or now)
            self.end(job, "COMPLETED" if seen.exit_code == 0 else "FAILED")
        elif (
            job.started_at
            and (now - job.started_at) / timedelta(milliseconds=1)
            > (job.body["max_timeout_run_ms"])
        ):
            await self.runs.stop(job.run_uuid)
            self.end(job, "FAILED", "it ran longer than max_timeout_run_ms")

    def _meant(self, args: dict[str, Any]) -> SimJob:
        for job in self.book.jobs.values():
            if not job.over and (args.get("id") == job.uuid or args.get("key") == job.key):
                return job
        raise UnknownAction("no live job has this id or key")

    def _load(self) -> Book:
        try:
            return Book.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return Book()
