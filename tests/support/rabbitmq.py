"""A real RabbitMQ (Debian's `rabbitmq-server`), in a folder of its own, as whoever tests."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from cortex.embedded.config import free_ports
from tests.support import patience

# Not Debian's `/usr/sbin/rabbitmq-server`, which becomes another user and uses its folders.
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_CONTROL = _SERVER.with_name("rabbitmqctl")
_PORT_MAPPER = "epmd"


def needs_rabbitmq() -> None:
    """Skip where there is none, unless `CORTEX_REQUIRE_RABBITMQ` is set."""
    if _SERVER.exists() and shutil.which(_PORT_MAPPER):
        return
    if os.environ.get("CORTEX_REQUIRE_RABBITMQ"):
        pytest.fail("no RabbitMQ: install Debian's rabbitmq-server")
    pytest.skip("no RabbitMQ: install Debian's rabbitmq-server")


class RabbitMQServer:
    """One broker at a port that stays the same; what it has on disk outlives `kill`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugins").write_text("[].")
        self._folder = folder
        self.port, mapper, cluster = free_ports(3)
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_NODENAME": "test@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(cluster),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.env"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    async def start(self) -> None:
        """Until it takes connections."""
        # Its own port mapper: the one that Erlang would start outlives everything.
        mapper = self._environment["ERL_EPMD_PORT"]
        await self._run(_PORT_MAPPER, "-port", mapper)
        await self._run(str(_SERVER))
        async with asyncio.timeout(patience(60)):
            while not await self._answers():
                if self._processes[-1].returncode is not None:
                    raise RuntimeError(f"RabbitMQ ended: see {self._folder / 'log'}")
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """At once, as if its machine lost power; harmless to repeat."""
        while self._processes:
            process = self._processes.pop()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` does and says."""
        process = await asyncio.create_subprocess_exec(
            str(_CONTROL),
            *("--quiet", *arguments),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
        assert process.returncode == 0, arguments
        return told.decode()

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def _run(self, *command: str) -> None:
        self._processes.append(
            await asyncio.create_subprocess_exec(
                *command,
                env=self._environment,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        )
