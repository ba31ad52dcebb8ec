"""A supervisor in a process of its own, for tests that kill it: `supervise.py DATA_DIR [KIND]`.

Kinds: `fakes` runs two stand-ins only; `servers` runs PostgreSQL, Temporal and the two stand-ins;
`orphans` runs the same, but they outlive a killed supervisor, as on systems that cannot prevent it.
Its events are printed, one JSON object a line.
"""

import asyncio
import json
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

from cortex.embedded import StackConfig, StackError, StackEvent, run_foreground
from cortex.embedded.apps import server_parts
from cortex.embedded.config import free_ports
from cortex.embedded.ports import http_status
from cortex.embedded.service import Part, Service

FAKE = Path(__file__).with_name("fake_service.py")


def fake(config: StackConfig, name: str, port: int, *options: str, **fields: object) -> Service:
    """A stand-in service on this port."""

    async def ready(pid: int) -> bool:
        return await http_status(f"http://127.0.0.1:{port}/") == 200

    journal = str(config.data_dir / "journal")
    argv = (sys.executable, str(FAKE), name, str(port), journal, *options)
    made = Service(name=name, argv=argv, marker=f"{name} {port}", ready=ready, env={})
    return type(made)(**{**vars(made), **fields})


def parts_of(config: StackConfig, kind: str) -> tuple[Part, ...]:
    """The parts of a test stack."""
    needs = () if kind == "fakes" else ("database", "temporal")
    servers = () if kind == "fakes" else server_parts(config)
    worker = fake(config, "worker", free_ports(1)[0], needs=needs)
    api = fake(config, "api", config.ports.api, needs=needs, ports=(("api", config.ports.api),))
    parts = (*servers, worker, api)
    if kind != "orphans":
        return parts
    harmless = signal.SIGURG
    return tuple(
        replace(part, death_signal=harmless) if isinstance(part, Service) else part
        for part in parts
    )


def main() -> int:
    data_dir, kind = Path(sys.argv[1]), sys.argv[2]

    def say(event: StackEvent) -> None:
        sys.stdout.write(json.dumps(asdict(event)) + "\n")
        sys.stdout.flush()

    try:
        config = StackConfig.free(data_dir)
        asyncio.run(run_foreground(config, parts=parts_of(config, kind), on_event=say))
    except StackError as err:
        sys.stdout.write(json.dumps({"name": "error", "phase": "", "detail": str(err)}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
