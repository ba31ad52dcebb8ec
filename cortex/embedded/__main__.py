"""The background supervisor: `python -m cortex.embedded --data-dir DIR`."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from cortex.embedded.config import PORT_OPTIONS, PortName, StackConfig
from cortex.embedded.errors import AlreadyRunning, StackError
from cortex.embedded.foreground import run_foreground
from cortex.embedded.service import StackEvent


def main() -> int:
    """Run until a signal; 0 after an orderly stop, 1 if it failed, 3 if another one runs."""
    parser = argparse.ArgumentParser(prog="python -m cortex.embedded", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--host", default=None)
    parser.add_argument(
        "--port", type=_port, action="append", default=[], metavar="NAME=PORT", dest="ports"
    )
    parser.add_argument("--simulators", action=argparse.BooleanOptionalAction, default=None)
    args = parser.parse_args()
    try:
        config = StackConfig.load(
            args.data_dir, host=args.host, ports=dict(args.ports), simulators=args.simulators
        )
        asyncio.run(run_foreground(config, on_event=_say))
    except StackError as err:
        _write(str(err))
        return 3 if isinstance(err, AlreadyRunning) else 1
    return 0


def _port(text: str) -> tuple[PortName, int]:
    given, _, number = text.partition("=")
    for name in PORT_OPTIONS:
        if name == given:
            return name, int(number)
    raise ValueError(f"`{given}` is none of {', '.join(PORT_OPTIONS)}")


def _say(event: StackEvent) -> None:
    _write(f"{event.name}: {event.phase}{f' ({event.detail})' if event.detail else ''}")


def _write(text: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
