"""The network itself: a queue that holds jobs, runs them when told, and sends a bill.

    cortex-queue --port 8790 --folder /tmp/queue --token let-me-in

It stands on Cortex's kit for simulators: `Runs` truly runs the commands and finds them again after
a restart, and the tests may set faults (`/_sim/faults`, on loopback only, as it serves no other).
"""

import argparse
import asyncio
import json
import secrets
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from pydantic import BaseModel

from cortex.domain.money import Money
from cortex.domain.offers import PriceSheet
from providers.outputs import packing
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import server
from simulators.kit.world import SimBill, SimLease, World

PRICES = PriceSheet(cpu_hour=Decimal("0.03"), memory_gib_hour=Decimal("0.004"))
_MICROSECOND = timedelta(microseconds=1)


class Job(BaseModel):
    """What is asked for, and what became of it. Kept as a file: a restart loses nothing."""

    command: list[str]
    env: dict[str, str] = {}
    hourly: Decimal
    released: bool = False
    stopped: bool = False


class QueueWorld(World):
    """All jobs of one queue."""

    name = "queue"

    def __init__(self, folder: Path, clock: Clock, runs: Runs, token: str) -> None:
        super().__init__(folder, clock, runs)
        self._token = token
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def router(self) -> APIRouter:
        router = APIRouter(dependencies=[Depends(self._check)])
        router.get("/prices")(self._prices)
        router.get("/jobs")(self._list)
        router.put("/jobs/{key}")(self._hold)
        router.post("/jobs/{key}/start")(self._start)
        router.post("/jobs/{key}/stop")(self._stop)
        router.delete("/jobs/{key}")(self._remove)
        router.get("/jobs/{key}/lines")(self._lines)
        router.get("/jobs/{key}/results")(self._results)
        return router

    async def leases(self) -> list[SimLease]:
        jobs = [await self._view(key) for key in self._keys()]
        return [
            SimLease(
                id=job["key"], key=job["key"], alive=job["state"] in ("held", "starting", "running")
            )
            for job in jobs
        ]

    async def bill(self) -> list[SimBill]:
        live = [_bill_of(await self._view(key)) for key in self._keys()]
        sent = [
            SimBill.model_validate_json(path.read_text()) for path in self.folder.glob("*.bill")
        ]
        return live + sent

    def _check(self, authorization: Annotated[str, Header()] = "") -> None:
        if not secrets.compare_digest(authorization.encode(), f"Bearer {self._token}".encode()):
            raise HTTPException(401, "wrong token")

    async def _prices(self) -> PriceSheet:
        return PRICES

    async def _list(self, key: Annotated[list[str] | None, Query()] = None) -> list[dict[str, Any]]:
        known = self._keys()
        return [await self._view(each) for each in (key or known) if each in known]

    async def _hold(self, key: str, job: Job) -> dict[str, Any]:
        if not key.replace("-", "").replace("_", "").isalnum():
            raise HTTPException(422, "a key is letters, digits, `-` and `_`")
        async with self._locks[key]:
            if not self._path(key).exists():
                self._save(key, job)
        return await self._view(key)

    async def _start(self, key: str) -> dict[str, Any]:
        async with self._locks[key]:
            job = self._load(key)
            if job.stopped and not job.released:
                raise HTTPException(409, "it was given up")
            if not job.released:
                self._save(key, job.model_copy(update={"released": True}))
                await self.runs.start(key, job.command, job.env)
        return await self._view(key)

    async def _stop(self, key: str) -> dict[str, Any]:
        async with self._locks[key]:
            job = self._load(key)
            self._save(key, job.model_copy(update={"stopped": True}))
            if job.released:
                await self.runs.stop(key)
        return await self._view(key)

    async def _remove(self, key: str) -> None:
        async with self._locks[key]:
            job = self._load(key)
            if job.released:
                await self.runs.stop(key)
            self._save(key, job.model_copy(update={"stopped": True}))
            bill = _bill_of(await self._view(key))  # it outlives the job
            self._path(key).with_suffix(".bill").write_text(bill.model_dump_json())
            if job.released:
                await self.runs.remove(key)
            self._path(key).unlink()

    async def _lines(self, key: str, after: int = 0) -> list[dict[str, Any]]:
        if not self._load(key).released:
            return []
        lines = (await self.runs.lines(key))[after:]
        return [{"time": x.time, "stream": x.stream, "text": x.text} for x in lines]

    async def _results(self, key: str, outputs: str) -> Response:
        """The archive that Cortex's script makes of a job's files, as its container would."""
        self._load(key)
        script = packing() + 'outputs=$2; pack "$1"'
        words = [
            "/bin/sh",
            "-c",
            script,
            "pack",
            str(self.folder.absolute() / f"{key}.pack"),
            outputs,
        ]
        return Response((await self.runs.execute(key, words, timeout=60)).stdout)

    async def _view(self, key: str) -> dict[str, Any]:
        job = self._load(key)
        run = await self.runs.state(key) if job.released else None
        state = run.state if run else "dropped" if job.stopped else "held"
        began = run.started_at if run else None
        ended = run.finished_at if run else None
        final = state in ("dropped", "exited", "lost")
        seconds = _seconds(began, ended or (None if final else self.clock.now()))
        cost = Money(amount=job.hourly * seconds / 3600, currency=PRICES.currency).rounded()
        return {
            "key": key,
            "state": state,
            "exit_code": run.exit_code if run else None,
            "started_at": began,
            "finished_at": ended,
            "seconds": str(seconds),
            "cost": str(cost.amount),
            "currency": cost.currency,
            "final": final,
        }

    def _keys(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _load(self, key: str) -> Job:
        if not self._path(key).exists():
            raise HTTPException(404, "there is no such job")
        return Job.model_validate_json(self._path(key).read_text())

    def _save(self, key: str, job: Job) -> None:
        new = self._path(key).with_suffix(".new")
        new.touch(mode=0o600)  # variables may be secrets
        new.write_text(json.dumps(job.model_dump(mode="json")))
        new.replace(self._path(key))


def _bill_of(job: dict[str, Any]) -> SimBill:
    return SimBill(
        id=job["key"],
        key=job["key"],
        amount=Decimal(job["cost"]),
        currency=job["currency"],
        final=job["final"],
    )


def _seconds(began: datetime | None, ended: datetime | None) -> Decimal:
    if began is None or ended is None:
        return Decimal(0)
    return max(Decimal((ended - began) // _MICROSECOND) / 1_000_000, Decimal(0))


def main() -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="cortex-queue", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--token", required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    world = QueueWorld(given.folder, Clock(), Runs(given.folder / "runs"), given.token)
    server(make_app(world), port=given.port).run()


if __name__ == "__main__":
    main()
