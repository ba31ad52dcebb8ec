"""The real servers under a supervisor process that is stopped, interrupted and killed."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from temporalio.client import Client

from cortex.embedded import StackConfig, StackError, find_running, stack_status, stop_stack
from cortex.embedded.config import Ports
from tests.support import patience, soon

pytestmark = pytest.mark.e2e

NAMES = ["api", "postgres", "supervisor", "temporal", "worker"]
Supervise = Callable[[str], Any]
AllGone = Callable[[list[int]], bool]


async def remember(config: StackConfig, value: int) -> None:
    async with await psycopg.AsyncConnection.connect(config.database_url) as db:
        await db.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        await db.execute("INSERT INTO kept VALUES (%s)", (value,))
    client = await Client.connect(config.temporal_address)
    await client.start_workflow(
        "Anything", id=f"kept-{value}", task_queue="nobody", static_summary="to be found again"
    )


async def remembered(config: StackConfig) -> list[int]:
    async with await psycopg.AsyncConnection.connect(config.database_url) as db:
        cursor = await db.execute("SELECT value FROM kept ORDER BY value")
        values = [row[0] for row in await cursor.fetchall()]
    client = await Client.connect(config.temporal_address)
    for value in values:
        await client.get_workflow_handle(f"kept-{value}").describe()
    return values


class TestWholeStack:
    async def test_interrupt_stops_in_order_and_the_data_is_found_again(
        self, data_dir: Path, supervise: Supervise, all_gone: AllGone
    ) -> None:
        first = supervise("servers")
        first.until("stack", "ready")
        config = StackConfig.load(data_dir)
        await remember(config, 1)
        pids = first.pids()
        assert sorted(pids) == NAMES
        os.killpg(first.process.pid, signal.SIGINT)  # what a terminal does at Ctrl-C
        first.rest()
        assert first.process.returncode == 0
        stopped = [name for name, phase in first.events if phase == "stopped"]
        assert sorted(stopped[:2]) == ["api", "worker"]
        assert sorted(stopped[2:]) == ["postgres", "stack", "temporal"]
        assert all_gone(list(pids.values()))
        assert find_running(data_dir) is None

        supervise("servers").until("stack", "ready")
        assert await remembered(config) == [1]

    async def test_killed_supervisor_takes_all_with_it(
        self, data_dir: Path, supervise: Supervise, all_gone: AllGone
    ) -> None:
        first = supervise("servers")
        first.until("stack", "ready")
        pids = first.pids()
        await remember(StackConfig.load(data_dir), 2)
        first.process.kill()
        assert all_gone(list(pids.values()))

        with soon(15):
            supervise("servers").until("stack", "ready")
        assert await remembered(StackConfig.load(data_dir)) == [2]

    def test_killed_in_the_middle_of_the_first_start(
        self, data_dir: Path, supervise: Supervise
    ) -> None:
        for name, phase in (("postgres", "starting"), ("postgres", "ready"), ("database", "ready")):
            broken = supervise("servers")
            broken.until(name, phase)
            broken.process.kill()
            broken.process.wait()
        supervise("servers").until("stack", "ready")

    async def test_orphans_are_stopped_by_the_next_start(
        self, data_dir: Path, supervise: Supervise
    ) -> None:
        first = supervise("orphans")
        first.until("stack", "ready")
        pids = first.pids()
        config = StackConfig.load(data_dir)
        await remember(config, 3)
        first.process.kill()
        first.process.wait()
        assert await remembered(config) == [3]  # they live on
        assert find_running(data_dir) is None

        second = supervise("servers")
        second.until("stack", "ready")
        assert ("postgres", "stopped") in second.events
        assert not set(pids.values()) & set(second.pids().values())
        assert await remembered(config) == [3]

    async def test_orphan_without_a_pid_file_is_known_by_its_folder(
        self, data_dir: Path, supervise: Supervise, all_gone: AllGone
    ) -> None:
        first = supervise("orphans")
        first.until("stack", "ready")
        pids = first.pids()
        first.process.kill()
        first.process.wait()
        for name in ("temporal", "postgres"):
            (data_dir / "run" / f"{name}.pid").unlink()
        supervise("servers").until("stack", "ready")
        assert all_gone(list(pids.values()))

    async def test_down_clears_what_a_dead_supervisor_left(
        self, data_dir: Path, supervise: Supervise, all_gone: AllGone
    ) -> None:
        first = supervise("orphans")
        first.until("stack", "ready")
        pids = first.pids()
        first.process.kill()
        first.process.wait()
        status = stack_status(data_dir)
        assert not status.running
        assert sorted(p.name for p in status.processes if p.pid) == sorted(
            set(NAMES) - {"supervisor"}
        )
        assert await stop_stack(data_dir)
        assert all_gone(list(pids.values()))
        assert not await stop_stack(data_dir)

    async def test_killed_servers_come_back_with_their_data(
        self, data_dir: Path, supervise: Supervise
    ) -> None:
        stack = supervise("servers")
        stack.until("stack", "ready")
        config = StackConfig.load(data_dir)
        await remember(config, 4)
        for name in ("postgres", "temporal"):
            os.kill(stack.pids()[name], signal.SIGKILL)
            stack.until(name, "died")
            stack.until(name, "ready")
        assert await remembered(config) == [4]


class TestStatus:
    async def test_every_process_ports_memory_and_links(
        self, data_dir: Path, supervise: Supervise
    ) -> None:
        stack = supervise("servers")
        stack.until("stack", "ready")
        status = stack_status(data_dir)
        assert status.running
        assert status.ready
        assert status.supervisor is not None
        assert status.supervisor.pid == stack.process.pid
        assert {p.name: p.pid for p in status.processes} == {
            name: pid for name, pid in stack.pids().items() if name != "supervisor"
        }
        for process in status.processes:
            assert process.phase == "ready"
            assert 2**20 < process.memory < 2**30
            assert process.uptime < 120
        config = StackConfig.load(data_dir)
        ports = {p.name: p.ports for p in status.processes}
        assert ports["temporal"]["grpc"] == config.ports.temporal
        assert status.links["Temporal Web UI"] == config.temporal_ui_url

        info = find_running(data_dir)
        assert info is not None
        assert info.ready
        assert (info.api_url, info.api_key) == (config.api_url, config.api_key)
        assert info.api_key not in repr(info)

        assert await stop_stack(data_dir)
        stack.rest()
        assert stack.process.returncode == 0
        assert not stack_status(data_dir).running

    def test_folder_without_a_stack(self, tmp_path: Path) -> None:
        assert find_running(tmp_path) is None
        status = stack_status(tmp_path)
        assert not status.running
        assert status.processes == ()


class TestSecondStart:
    def test_is_refused_and_changes_nothing(self, data_dir: Path, supervise: Supervise) -> None:
        first = supervise("fakes")
        first.until("stack", "ready")
        before = first.pids()
        second = supervise("fakes")
        assert f"`cortex --data-dir {data_dir} down` stops it" in second.until("error", "")
        second.process.wait(timeout=patience(10))
        assert second.process.returncode == 1
        assert first.pids() == before
        assert all(psutil.pid_exists(pid) for pid in before.values())


class TestDatabase:
    async def test_nobody_gets_in_without_the_password(
        self, data_dir: Path, supervise: Supervise
    ) -> None:
        supervise("servers").until("stack", "ready")
        config = StackConfig.load(data_dir)
        stranger = config.database_url.replace(config.secrets.postgres_cortex, "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(stranger)
        async with await psycopg.AsyncConnection.connect(config.database_url) as db:
            cursor = await db.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            assert await cursor.fetchone() == (False,)
            shown = await db.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN"
                " ('listen_addresses', 'fsync', 'synchronous_commit', 'server_encoding',"
                " 'max_connections')"
            )
            assert dict(await shown.fetchall()) == {
                "listen_addresses": "127.0.0.1",
                "fsync": "on",
                "synchronous_commit": "on",
                "server_encoding": "UTF8",
                "max_connections": "200",
            }

    def test_other_version_is_told(self, data_dir: Path, supervise: Supervise) -> None:
        StackConfig.free(data_dir).save()
        (data_dir / "postgres").mkdir()
        (data_dir / "postgres" / "PG_VERSION").write_text("11\n")
        told = supervise("servers").until("error", "")
        assert "was made by PostgreSQL 11" in told


class TestTakenPort:
    def test_temporal_port_of_a_stranger(self, data_dir: Path, supervise: Supervise) -> None:
        StackConfig.free(data_dir).save()
        with socket.create_server(("127.0.0.1", StackConfig.load(data_dir).ports.temporal)):
            told = supervise("servers").until("error", "")
        assert f"is taken by process {os.getpid()}" in told
        assert "--temporal-port PORT" in told


def test_ports_must_differ(data_dir: Path) -> None:
    with pytest.raises(StackError, match="differ"):
        StackConfig.load(data_dir, ports={"api": Ports().temporal})
