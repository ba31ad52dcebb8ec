"""Cortex's own processes: migrations, API and worker, started as `python -m ...`."""

import os
import signal
import sys
from pathlib import Path

from cortex.embedded.command import run_command
from cortex.embedded.config import StackConfig, user_settings
from cortex.embedded.ports import http_status
from cortex.embedded.postgres import create_database, postgres_service
from cortex.embedded.service import Part, Service, SetupTask
from cortex.embedded.simulators import service_name
from cortex.embedded.temporal import temporal_service

# -P: a `worker.py` or an `api` folder in the user's working folder is not ours.
_PYTHON = (sys.executable, "-P", "-m")


def stack_parts(config: StackConfig) -> tuple[Part, ...]:
    """All parts of the embedded stack; their `needs` give the order."""
    return (
        *server_parts(config),
        migrations(config),
        api_service(config),
        worker_service(config),
        *simulator_services(config),
    )


def server_parts(config: StackConfig) -> tuple[Part, ...]:
    """The servers that are not ours: PostgreSQL with its database, and Temporal."""

    async def database() -> None:
        await create_database(config)

    return (
        postgres_service(config),
        SetupTask(name="database", run=database, needs=("postgres",)),
        temporal_service(config),
    )


def migrations(config: StackConfig) -> SetupTask:
    """Bring the tables to the newest version."""

    async def run() -> None:
        await run_command(
            [*_PYTHON, "cortex.db.migrate"],
            what="The database could not be migrated",
            env=config.environment(),
        )

    return SetupTask(name="migrations", run=run, needs=("database",))


def api_service(config: StackConfig) -> Service:
    """The API. It says that it is ready once database, Temporal and a worker are."""

    async def ready(pid: int) -> bool:
        return await http_status(f"{config.api_url}/health/ready", timeout=10.0) == 200

    return Service(
        name="api",
        argv=(*_PYTHON, "api"),
        marker="-m api",
        env=config.environment(),
        ready=ready,
        needs=("migrations", "temporal"),
        ports=(("api", config.ports.api),),
        host=config.host,
        folder=config.data_dir,
    )


def worker_service(config: StackConfig) -> Service:
    """The worker. It listens on no port, and touches its health file while it works."""
    settings = user_settings().worker
    healthy = settings.health_file or config.run_dir / "worker.healthy"

    async def ready(pid: int) -> bool:
        return _exists(healthy)

    return Service(
        name="worker",
        argv=(*_PYTHON, "worker"),
        marker="-m worker",
        env={**config.environment(), "CORTEX_WORKER__HEALTH_FILE": str(healthy)},
        ready=ready,
        ready_file=healthy,
        # The networks first: a provider whose network is away at the start is tried again later.
        needs=("migrations", "temporal", *map(service_name, config.simulator_urls())),
        folder=config.data_dir,
        # A little more than the worker gives its own activities.
        stop=((signal.SIGTERM, settings.graceful_shutdown.total_seconds() + 5.0),),
    )


def simulator_services(config: StackConfig) -> tuple[Service, ...]:
    """The simulated networks; what they know is kept in the data folder."""
    return tuple(_simulator(config, name, url) for name, url in config.simulator_urls().items())


def _simulator(config: StackConfig, name: str, url: str) -> Service:
    folder = config.data_dir / "simulators" / name
    port = config.simulator_ports[name]

    async def ready(pid: int) -> bool:
        return await http_status(f"{url}/_sim/faults") == 200

    where = ("--port", str(port), "--folder", str(folder))
    return Service(
        name=service_name(name),
        argv=(*_PYTHON, "simulators", name, *where),
        marker=f"-m simulators {name}",
        # It is a network of its own: nothing of our settings and secrets is for it.
        env={
            key: text for key, text in os.environ.items() if not key.upper().startswith("CORTEX_")
        },
        ready=ready,
        folder=config.data_dir,
        stop=((signal.SIGTERM, 10.0),),
    )


def _exists(path: Path) -> bool:
    return path.exists()
