import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cortex.embedded import (
    AlreadyRunning,
    PortTaken,
    StackConfig,
    StackError,
    Supervisor,
    stack_status,
)
from cortex.embedded.config import free_ports
from cortex.embedded.service import Part, Service, SetupTask, StackEvent
from providers.conformance import eventually
from tests.support import patience


class Stack:
    """A supervisor under test, with what it told."""

    def __init__(self, config: StackConfig, *parts: Part) -> None:
        self.events: list[StackEvent] = []
        self.config = config
        self.supervisor = Supervisor(config, parts=parts, on_event=self.events.append)

    def phases(self, name: str) -> list[str]:
        return [event.phase for event in self.events if event.name == name]

    def parts_in(self, phase: str) -> list[str]:
        return [event.name for event in self.events if event.phase == phase]

    async def until(self, name: str, phase: str, times: int = 1) -> StackEvent:
        async with asyncio.timeout(patience(30)):
            while True:
                reached = [e for e in self.events if (e.name, e.phase) == (name, phase)]
                if len(reached) >= times:
                    return reached[times - 1]
                await asyncio.sleep(0.02)

    def pid(self, name: str) -> int:
        return int(json.loads((self.config.run_dir / f"{name}.pid").read_text())["pid"])

    def journal(self) -> list[str]:
        return (self.config.data_dir / "journal").read_text().splitlines()


@asynccontextmanager
async def running(config: StackConfig, *parts: Part) -> AsyncIterator[Stack]:
    stack = Stack(config, *parts)
    await stack.supervisor.start()
    try:
        yield stack
    finally:
        await stack.supervisor.stop()


@pytest.fixture
def three(config: StackConfig, fake: Callable[..., Service]) -> tuple[Service, Service, Service]:
    """A base, and two that stand on it."""
    one, two, three = free_ports(3)
    return (
        fake(config, "top", one, needs=("base",)),
        fake(config, "base", two),
        fake(config, "side", three, needs=("base",)),
    )


def failing(name: str, code: str, **fields: object) -> Service:
    async def never(pid: int) -> bool:
        return False

    made = Service(name=name, argv=(sys.executable, "-c", code), marker="", ready=never, env={})
    return replace(made, **fields)  # type: ignore[arg-type]


class TestOrder:
    async def test_starts_what_is_needed_first_and_stops_it_last(
        self, config: StackConfig, three: tuple[Service, Service, Service]
    ) -> None:
        async with running(config, *three) as stack:
            assert stack.parts_in("ready")[0] == "base"
            assert stack.parts_in("ready")[-1] == "stack"
            pids = [stack.pid(part.name) for part in three]
        assert stack.parts_in("stopped")[-2:] == ["base", "stack"]
        assert stack.journal()[-1] == "base SIGTERM"
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert list(config.run_dir.glob("*.pid")) == []

    async def test_setup_runs_between_and_order_holds_through_it(
        self, config: StackConfig, fake: Callable[..., Service]
    ) -> None:
        one, two = free_ports(2)
        ran: list[str] = []

        async def setup() -> None:
            ran.append("setup")

        parts = (
            fake(config, "top", one, needs=("setup",)),
            SetupTask("setup", setup, needs=("base",)),
            fake(config, "base", two),
        )
        async with running(config, *parts) as stack:
            assert ran == ["setup"]
            assert stack.parts_in("ready") == ["base", "setup", "top", "stack"]
        assert stack.journal()[-2:] == ["top SIGTERM", "base SIGTERM"]


class TestFailedStart:
    async def test_shows_the_last_lines_and_leaves_nothing(
        self, config: StackConfig, fake: Callable[..., Service]
    ) -> None:
        port = free_ports(1)[0]
        bad = failing("bad", "print('cannot find my socks'); raise SystemExit(7)", needs=("base",))
        stack = Stack(config, fake(config, "base", port), bad)
        with pytest.raises(StackError, match="`bad` ended before it was ready, exit code 7") as got:
            await stack.supervisor.start()
        assert "cannot find my socks" in str(got.value)
        assert stack.phases("base")[-1] == "stopped"
        assert list(config.run_dir.glob("*.pid")) == []

    async def test_not_ready_in_time(self, config: StackConfig) -> None:
        slow = failing("slow", "import time; time.sleep(60)", ready_timeout=0.3)
        stack = Stack(config, slow)
        with pytest.raises(StackError, match=r"`slow` was not ready within 0 s"):
            await stack.supervisor.start()
        assert stack.phases("slow")[-1] == "stopped"

    async def test_setup_that_fails(self, config: StackConfig) -> None:
        async def setup() -> None:
            raise StackError("the migration did not work")

        with pytest.raises(StackError, match="did not work"):
            await Stack(config, SetupTask("setup", setup)).supervisor.start()

    async def test_program_that_does_not_exist(self, config: StackConfig) -> None:
        gone = replace(failing("gone", ""), argv=("/no/such/program",))
        with pytest.raises(StackError, match="`gone` cannot be started"):
            await Stack(config, gone).supervisor.start()

    async def test_cancelled_start_leaves_nothing(
        self, config: StackConfig, fake: Callable[..., Service]
    ) -> None:
        slow = failing("slow", "import time; time.sleep(60)")
        stack = Stack(config, fake(config, "base", free_ports(1)[0]), slow)
        starting = asyncio.ensure_future(stack.supervisor.start())
        await stack.until("base", "ready")
        pids = [stack.pid("base"), stack.pid("slow")]
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not any(psutil.pid_exists(pid) for pid in pids)


class TestRestart:
    async def test_killed_child_comes_back(
        self, config: StackConfig, three: tuple[Service, Service, Service]
    ) -> None:
        async with running(config, *three) as stack:
            before = stack.pid("top")
            os.kill(before, signal.SIGKILL)
            died = await stack.until("top", "died")
            assert "SIGKILL" in died.detail
            await stack.until("top", "ready", times=2)
            assert stack.pid("top") != before
            assert stack.phases("base") == ["starting", "ready"]

    async def test_gives_up_on_one_that_keeps_dying(
        self, config: StackConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cortex.embedded.supervisor._FIRST_PAUSE", 0.001)
        monkeypatch.setattr("cortex.embedded.supervisor._LONGEST_PAUSE", 0.001)

        async def at_once(pid: int) -> bool:
            return True

        brief = failing("brief", "import time; time.sleep(0.05); print('ouch')", ready=at_once)
        async with running(config, brief) as stack:
            with pytest.raises(StackError, match="`brief` died 11 times in a row") as caught:
                async with asyncio.timeout(patience(30)):
                    await stack.supervisor.run_until(asyncio.Event())
            assert "ouch" in str(caught.value)

    async def test_full_disk_is_told_and_does_not_give_up(
        self, config: StackConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cortex.embedded.supervisor._FIRST_PAUSE", 0.001)
        monkeypatch.setattr("cortex.embedded.supervisor._LONGEST_PAUSE", 0.001)

        async def at_once(pid: int) -> bool:
            return True

        code = "import time; time.sleep(0.02); print('PANIC: No space left on device')"
        full = failing("full", code, ready=at_once, folder=config.data_dir)
        async with running(config, full) as stack:
            died = await stack.until("full", "died", times=12)
            assert "The disk is full" in died.detail
            assert str(config.data_dir) in died.detail
            assert "MiB are free" in died.detail
            assert stack.phases("full").count("failed") == 0


class TestDisk:
    async def test_little_space_is_told_before_it_hurts(
        self,
        config: StackConfig,
        three: tuple[Service, Service, Service],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("cortex.embedded.supervisor._HOUSEKEEPING", 0.05)
        async with running(config, *three) as stack:
            with monkeypatch.context() as patch:
                patch.setenv("CORTEX_DISK__KEEP_FREE", str(2**60))
                told = await stack.until("disk", "note")
                assert str(config.data_dir) in told.detail
                assert "MiB are free" in stack_status(config.data_dir).warning
            await stack.until("disk", "ready")
            assert stack_status(config.data_dir).warning == ""
            assert stack.phases("disk") == ["note", "ready"]


class TestStop:
    async def test_stubborn_child_is_killed_after_its_time(
        self, config: StackConfig, fake: Callable[..., Service]
    ) -> None:
        port = free_ports(1)[0]
        stop = ((signal.SIGTERM, 0.3),)
        async with running(config, fake(config, "deaf", port, "stubborn", stop=stop)) as stack:
            pid = stack.pid("deaf")
        assert not psutil.pid_exists(pid)
        assert stack.journal()[-1] == "deaf SIGTERM"

    async def test_hurry_waits_for_nobody(
        self, config: StackConfig, fake: Callable[..., Service]
    ) -> None:
        port = free_ports(1)[0]
        async with running(config, fake(config, "deaf", port, "stubborn")) as stack:
            stopping = asyncio.ensure_future(stack.supervisor.stop())
            await stack.until("deaf", "stopping")
            stack.supervisor.hurry()
            async with asyncio.timeout(patience(5)):
                await stopping

    async def test_group_goes_and_detached_jobs_stay(
        self, config: StackConfig, fake: Callable[..., Service]
    ) -> None:
        port = free_ports(1)[0]
        async with running(config, fake(config, "papa", port, "family")) as stack:
            pids = {line.split()[1]: int(line.split()[2]) for line in stack.journal()}
        detached = psutil.Process(pids["detached"])
        try:

            async def grouped_is_gone() -> bool:
                try:
                    state: str = psutil.Process(pids["grouped"]).status()
                except psutil.NoSuchProcess:
                    return True
                return state == psutil.STATUS_ZOMBIE

            # SIGKILL was sent; the kernel may still be at it.
            await eventually(grouped_is_gone, timeout=10)
            assert detached.is_running()
        finally:
            detached.kill()
            with contextlib.suppress(psutil.TimeoutExpired):
                detached.wait(5)


class TestPortsAndLock:
    async def test_taken_port_names_who_and_what_to_do(
        self, config: StackConfig, fake: Callable[..., Service]
    ) -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", config.ports.api)
        async with server:
            service = fake(config, "api", config.ports.api, ports=(("api", config.ports.api),))
            wanted = rf"Port {config.ports.api} \(api\) is taken by process {os.getpid()} \("
            with pytest.raises(PortTaken, match=wanted) as caught:
                await Stack(config, service).supervisor.start()
        assert "--port PORT" in str(caught.value)

    async def test_second_supervisor_is_refused(
        self, config: StackConfig, three: tuple[Service, Service, Service]
    ) -> None:
        async with running(config, *three):
            wanted = rf"running already on .* \(process {os.getpid()}\); `cortex .*down`"
            with pytest.raises(AlreadyRunning, match=wanted):
                await Stack(config, *three).supervisor.start()

    async def test_same_folder_again_after_a_stop(
        self, config: StackConfig, three: tuple[Service, Service, Service]
    ) -> None:
        for _ in range(2):
            async with running(config, *three) as stack:
                assert stack.parts_in("ready")[-1] == "stack"


class TestLogs:
    async def test_output_goes_to_a_private_file(
        self, config: StackConfig, three: tuple[Service, Service, Service]
    ) -> None:
        async with running(config, *three):
            text, mode = read_log(config.logs_dir / "top.log")
        assert "top listens" in text
        assert mode & 0o077 == 0


def read_log(path: Path) -> tuple[str, int]:
    return path.read_text(), path.stat().st_mode
