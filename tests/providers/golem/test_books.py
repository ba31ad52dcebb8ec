"""The simulated daemon is killed and comes back: nothing is run, billed or paid a second time."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.states import RunState
from cortex.embedded.config import free_ports
from providers.conformance import eventually
from providers.errors import ProviderError
from providers.golem import GolemProvider
from tests.providers.golem.conftest import job, new_key, settings
from tests.support.runs import clear


class Process:
    """`python -m simulators golem`, at one address whatever happens to it."""

    def __init__(self, folder: Path) -> None:
        (self._port,) = free_ports(1)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self._port}"
        self._running: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        where = ("--port", str(self._port), "--folder", str(self.folder))
        self._running = await asyncio.to_thread(
            subprocess.Popen, [sys.executable, "-m", "simulators", "golem", *where]
        )
        await eventually(self._answers, timeout=40, what="the simulator")

    async def end(self, by: signal.Signals) -> None:
        if self._running is not None:
            self._running.send_signal(by)
            await asyncio.to_thread(self._running.wait)

    async def again(self, by: signal.Signals = signal.SIGKILL) -> None:
        await self.end(by)
        await self.start()

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient(base_url=self.url) as http:
                return (await http.get("/_sim/faults")).is_success
        except httpx.TransportError:
            return False

    async def books(self, what: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            entries: list[dict[str, Any]] = (await http.get(f"/_sim/{what}")).json()
            return entries


@pytest_asyncio.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    made = Process(tmp_path / "golem")
    await made.start()
    try:
        yield made
    finally:
        await made.end(signal.SIGKILL)
        await clear(made.folder / "runs")


@pytest_asyncio.fixture
async def golem(process: Process) -> AsyncIterator[GolemProvider]:
    made = GolemProvider("golem-sim", settings(process.url))
    await made.initialize()
    yield made
    await made.aclose()


async def ended(golem: GolemProvider, ref: LeaseRef) -> LeaseSnapshot:
    async def over() -> LeaseSnapshot | None:
        try:
            now = await golem.status(ref)
        except ProviderError:
            return None
        return now if now.state.final else None

    reached = await eventually(over, timeout=40, what="the end")
    assert reached is not None
    return reached


async def release(golem: GolemProvider, ref: LeaseRef) -> None:
    """As the settlement does: until the network confirms."""

    async def released() -> bool:
        try:
            await golem.cancel(ref)
        except ProviderError:
            return False
        return True

    await eventually(released, timeout=40, what="the release")


async def billed(process: Process, golem: GolemProvider, ref: LeaseRef) -> None:
    usage = await golem.usage(ref)
    (bill,) = await process.books("bill")
    assert usage.final
    assert bill["final"]
    assert f"{usage.cost.amount:f}" == bill["amount"]
    assert usage.cost.amount > 0
    assert [lease["alive"] for lease in await process.books("leases")] == [False]


@pytest.mark.faults
class TestKilled:
    async def test_while_a_job_runs(
        self, process: Process, golem: GolemProvider, tmp_path: Path
    ) -> None:
        mark = tmp_path / "ran"
        script = f"echo x >> {mark}; echo one; sleep 5; echo two; exit 7"
        ref = (await golem.submit(job(script), new_key())).ref
        await process.again()
        at_network = await golem.find(ref.key)
        assert at_network is not None
        assert at_network.committed
        last = await ended(golem, ref)
        assert (last.state, last.exit_code) == (RunState.EXITED, 7)
        assert [line.text async for line in golem.logs(ref)] == ["one", "two"]
        await release(golem, ref)
        assert mark.read_text() == "x\n"
        await billed(process, golem, ref)

    async def test_by_its_own_end_as_well(self, process: Process, golem: GolemProvider) -> None:
        """`cortex down` and `cortex up`."""
        ref = (await golem.submit(job("sleep 4; exit 3"), new_key())).ref
        await process.again(signal.SIGTERM)
        assert (await ended(golem, ref)).exit_code == 3
        await release(golem, ref)
        await billed(process, golem, ref)

    async def test_between_reservation_and_start(
        self, process: Process, golem: GolemProvider
    ) -> None:
        reservation = await golem.prepare(job("exit 5"), new_key())
        await process.again()
        again = await golem.prepare(job("exit 5"), reservation.ref.key)
        assert again.ref == reservation.ref
        ref = (await golem.commit(again)).ref
        assert (await ended(golem, ref)).exit_code == 5
        await release(golem, ref)
        await billed(process, golem, ref)

    async def test_while_its_machine_is_asked(self, process: Process, golem: GolemProvider) -> None:
        """A command was given to the machine and not told of: it is not run a second time."""
        ref = (await golem.submit(job("sleep 600"), new_key())).ref
        activity = (await golem._activities.of(ref.network_id))[0]
        script = [{"run": {"entry_point": "/bin/sh", "args": ["-c", "echo x >> told; sleep 3"]}}]
        batch = await golem._activities.start(activity, script)

        async def begun() -> bool:
            return any((process.folder / "runs").rglob("told"))

        await eventually(begun, what="the command")
        await process.again()
        done = await golem._activities.finished(activity, batch, 20)
        assert done is not None
        assert done[0].result == "Ok"
        (told,) = (process.folder / "runs").rglob("told")
        assert told.read_text() == "x\n"
        await release(golem, ref)
        await billed(process, golem, ref)

    async def test_before_its_invoice_came(self, process: Process, golem: GolemProvider) -> None:
        ref = (await golem.submit(job("true"), new_key())).ref
        await ended(golem, ref)
        async with httpx.AsyncClient(base_url=process.url) as http:
            late = {"action": "habits", "args": {"invoice_delay": 2.0}}
            (await http.post("/_sim/world", json=late)).raise_for_status()
        task = asyncio.create_task(golem.cancel(ref))

        async def terminated() -> bool:
            return not any(lease["alive"] for lease in await process.books("leases"))

        await eventually(terminated, what="the termination")
        await process.again()
        await asyncio.gather(task, return_exceptions=True)
        await release(golem, ref)
        await billed(process, golem, ref)

    async def test_what_a_daemon_loses(self, process: Process, golem: GolemProvider) -> None:
        """Demands are gone with it, as at the real one; money that is set aside is not."""
        async with httpx.AsyncClient(
            base_url=process.url, headers={"authorization": "Bearer golem-simulator"}
        ) as http:
            demand = {"properties": {}, "constraints": "()"}
            (await http.post("/market-api/v1/demands", json=demand)).raise_for_status()
            body = {"totalAmount": "2", "paymentPlatform": "erc20-polygon-glm"}
            (await http.post("/payment-api/v1/allocations", json=body)).raise_for_status()
            await process.again()
            assert (await http.get("/market-api/v1/demands")).json() == []
            (kept,) = (await http.get("/payment-api/v1/allocations")).json()
            assert kept["totalAmount"] == "2"
