"""`python -m simulators NAME --port N --folder DIR`: one simulated network as a process."""

import argparse
import sys
from datetime import timedelta
from pathlib import Path

from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import server
from simulators.registry import names, world_class


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="simulators", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--folder", type=Path, required=True, help="Where its state is kept.")
    parser.add_argument("--skew", type=float, default=0.0, help="Its clock goes wrong by seconds.")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    clock = Clock(timedelta(seconds=given.skew))
    world = world_class(given.name)(given.folder, clock, Runs(given.folder / "runs"))
    server(make_app(world), host=given.host, port=given.port).run()
    sys.exit(0)


if __name__ == "__main__":
    main()
