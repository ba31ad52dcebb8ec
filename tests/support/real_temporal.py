"""Temporal's own server on PostgreSQL, as docker-compose.temporal.yml runs it, in one process.

`make real-temporal` builds it, once; without that, what needs it is skipped with a reason.
`python -m tests.support.real_temporal` runs one until Ctrl-C and prints its address, for
`CORTEX_BENCH_TEMPORAL=<address> python -m bench jobs`.
"""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import psycopg
import yaml
from temporalio.client import Client

from cortex.embedded.child import Child
from cortex.embedded.config import LOOPBACK, StackConfig
from cortex.embedded.postgres import postgres_service
from tests.support import eventually

_ROOT: Final = Path(__file__).parents[2]
_COMPOSE: Final = _ROOT / "docker-compose.temporal.yml"
_DYNAMIC: Final = _ROOT / "deploy" / "temporal" / "dynamicconfig" / "cortex.yaml"
_SERVICES: Final = ("frontend", "history", "matching", "worker")
_DATABASES: Final = {"temporal": "temporal", "temporal_visibility": "visibility"}
"""By name: which of the server's schemas each has."""
_SHARDS: Final = 4


def programs() -> Path | None:
    """The folder with the two programs; None: they were not built here."""
    version = re.search(r"image: temporalio/server:(\S+)", _COMPOSE.read_text())
    assert version is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cortex" / "real"
    folder = Path(os.environ.get("CORTEX_REAL_CACHE") or cache) / f"temporal-{version[1]}"
    return folder if (folder / "temporal-server").exists() else None


@asynccontextmanager
async def real_temporal(folder: Path) -> AsyncIterator["RealTemporal"]:
    """A server that runs, on a PostgreSQL of its own, until the block ends.

    Args:
        folder: An empty one that every user of this machine can enter.
    """
    built = programs()
    assert built is not None, "run `make real-temporal` first"
    config = StackConfig.free(folder)
    config.save()
    postgres = postgres_service(config)
    child = Child(postgres, run_dir=config.run_dir, logs_dir=config.logs_dir)
    if postgres.prepare is not None:
        await postgres.prepare()
    child.spawn()
    try:
        await child.wait_ready()
        for database, schema in _DATABASES.items():
            await _make(config, built, database, schema)
        server = RealTemporal(config, built, folder)
        try:
            await server.start()
            yield server
        finally:
            await server.end(signal.SIGTERM)
    finally:
        await child.stop(asyncio.Event())


class RealTemporal:
    """All four services in one process, which can be killed and started anew."""

    def __init__(self, config: StackConfig, built: Path, folder: Path) -> None:
        ports = _free_ports(2 * len(_SERVICES))
        self.address = f"{LOOPBACK}:{ports[0]}"
        self._program = str(built / "temporal-server")
        self._log = folder / "temporal.log"
        self._file = folder / "temporal.yaml"
        self._file.write_text(yaml.safe_dump(_configuration(config, ports, self.address)))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(self._program, "--config-file", str(self._file), "--allow-no-auth", "start"),
                stdout=log,
                stderr=log,
            )
        await eventually(self._answers, within=60, what="Temporal's server")

    async def end(self, how: signal.Signals) -> None:
        """Returns when its process is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            await self._process.wait()

    async def _answers(self) -> bool:
        if self._process is None or self._process.returncode is not None:
            raise ChildProcessError(f"it ended: {self._log.read_text()[-2000:]}")
        try:
            client = await Client.connect(self.address)
            return await client.service_client.check_health()
        except RuntimeError:  # it does not listen yet
            return False


async def _make(config: StackConfig, built: Path, database: str, schema: str) -> None:
    admin = f"postgresql://postgres:{config.secrets.postgres_admin}@{LOOPBACK}"
    async with await psycopg.AsyncConnection.connect(
        f"{admin}:{config.ports.postgres}/postgres", autocommit=True
    ) as connection:
        await connection.execute(f"CREATE DATABASE {database}".encode())
    tool = [str(built / "temporal-sql-tool"), "--db", database]
    for words in (
        ["setup-schema", "-v", "0.0"],
        ["update-schema", "--schema-name", f"postgresql/v12/{schema}"],
    ):
        process = await asyncio.create_subprocess_exec(
            *tool,
            *words,
            env={
                "SQL_PASSWORD": config.secrets.postgres_admin,
                "SQL_PLUGIN": "postgres12_pgx",
                "SQL_HOST": LOOPBACK,
                "SQL_PORT": str(config.ports.postgres),
                "SQL_USER": "postgres",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()[-2000:]


def _free_ports(count: int) -> list[int]:
    """All held at once, so that no two are the same.

    Below 32768: the server keeps the number of a port in two bytes with a sign, and ends at
    others (`encode args[3]: ... is greater than maximum value for int2`).
    """
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            port = secrets.choice(range(10_000, 32_768))
            try:
                stack.enter_context(socket.socket()).bind((LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
    return ports


def _configuration(config: StackConfig, ports: list[int], address: str) -> dict[str, object]:
    def store(database: str, connections: int) -> dict[str, object]:
        return {
            "sql": {
                "pluginName": "postgres12_pgx",
                "databaseName": database,
                "connectAddr": f"{LOOPBACK}:{config.ports.postgres}",
                "connectProtocol": "tcp",
                "user": "postgres",
                "password": config.secrets.postgres_admin,
                "maxConns": connections,
                "maxIdleConns": connections,
                "maxConnLifetime": "1h",
            }
        }

    pairs = zip(_SERVICES, ports[::2], ports[1::2], strict=True)
    return {
        "log": {"stdout": True, "level": "warn"},
        "persistence": {
            "defaultStore": "default",
            "visibilityStore": "visibility",
            "numHistoryShards": _SHARDS,
            "datastores": {
                "default": store("temporal", 20),
                "visibility": store("temporal_visibility", 5),
            },
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": LOOPBACK}},
        "services": {
            name: {"rpc": {"grpcPort": grpc, "membershipPort": member, "bindOnLocalHost": True}}
            for name, grpc, member in pairs
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {
                "active": {
                    "enabled": True,
                    "initialFailoverVersion": 1,
                    "rpcName": "frontend",
                    "rpcAddress": address,
                }
            },
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "publicClient": {"hostPort": address},
        "dynamicConfigClient": {"filepath": str(_DYNAMIC), "pollInterval": "10s"},
    }


async def _serve(folder: Path) -> None:
    async with real_temporal(folder) as server:
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    if programs() is None:
        sys.exit("run `make real-temporal` first")
    with tempfile.TemporaryDirectory(prefix="ctx-real-") as _name:
        Path(_name).chmod(0o755)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(Path(_name)))
