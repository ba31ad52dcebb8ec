"""`python -m bench [NAME...]`: jobs, idle and api by default, each printed when it is done.

jobs      a job against the bare workflow; a second time on the Temporal server at
          `CORTEX_BENCH_TEMPORAL`, if that is set
idle      running jobs while nothing happens
api       the API under load
profile   where a worker spends its time; needs py-spy, and on most machines root
sockets   idle WebSockets (`--count`, 10,000), and requests that come a byte at a time
scale     20,000 running jobs (`--count`), and ten minutes in which nothing happens
disk      fills a small disk that it mounts (as root); ends with 1 if that brings a stack down
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

# The sandbox loads workflow modules again and again: from bytecode, as in production.
sys.dont_write_bytecode = False

from bench import api, disk, idle, jobs, profile, scale, sockets  # noqa: E402
from cortex.loops import loop_factory  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices = ["jobs", "idle", "api", "disk", "profile", "scale", "sockets", []]
    parser.add_argument("which", nargs="*", choices=choices, default=[])
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--count", type=int, help="jobs per round, or in all")
    parser.add_argument("--rounds", type=int, default=5, help="`jobs`: rounds")
    parser.add_argument("--disk", default="400m", metavar="SIZE", help="of the small disk")
    parser.add_argument("--disk-type", choices=["tmpfs", "ext4"], default="tmpfs")
    parser.add_argument("--writers", type=int, default=1, help="jobs that fill it at once")
    parser.add_argument(
        "--rows", type=int, default=0, help="`api`: reads only, in a table with so many jobs"
    )
    arguments = parser.parse_args()
    which = arguments.which or ["jobs", "idle", "api"]
    quick = arguments.quick
    if "jobs" in which:
        rounds, count = (1, 50) if quick else (arguments.rounds, arguments.count or 300)
        elsewhere = os.environ.get("CORTEX_BENCH_TEMPORAL")
        for address in (None, elsewhere) if elsewhere else (None,):
            measuring = jobs.measure(rounds=rounds, per_round=count, in_flight=50, temporal=address)
            print(_run(measuring))
    if "scale" in which:
        count = 200 if quick else arguments.count or 20_000
        print(_run(scale.measure(jobs=count, seconds=10 if quick else max(60, count * 0.03))))
    if "profile" in which:
        print(_run(profile.measure(jobs=100 if quick else arguments.count or 600, in_flight=50)))
    if "idle" in which:
        count = 100 if quick else 2000
        print(_run(idle.measure(jobs=count, seconds=10 if quick else 60)))
    if "api" in which and arguments.rows:
        seconds = 2.0 if quick else 5.0
        print(asyncio.run(api.measure_rows(rows=arguments.rows, seconds=seconds)))
    elif "api" in which:
        print(asyncio.run(api.measure(jobs=10_000, seconds=2 if quick else 8)))
    if "sockets" in which:
        count, seconds = (200, 3.0) if quick else (arguments.count or 10_000, 20.0)
        slow = 100 if quick else 3000
        print(asyncio.run(sockets.measure(sockets=count, slow=slow, seconds=seconds)))
    if "disk" in which:
        after = 15.0 if quick else 60.0
        plan = disk.Plan(arguments.disk, arguments.disk_type, arguments.writers, after=after)
        text, well = asyncio.run(disk.measure(plan))
        print(text)
        if not well:
            sys.exit(1)


def _run(measuring: Coroutine[Any, Any, str]) -> str:
    """On the event loop that a worker has, which runs in this process."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(measuring)


if __name__ == "__main__":
    main()
