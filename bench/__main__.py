"""`python -m bench [jobs|idle|api|disk]`: the first three by default, each printed when it is done.

`disk` fills a small disk that it mounts (as root), and ends with 1 if that brings a stack down.
"""

import argparse
import asyncio
import sys

# The sandbox loads workflow modules again and again: from bytecode, as in production.
sys.dont_write_bytecode = False

from bench import api, disk, idle, jobs  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("which", nargs="*", choices=["jobs", "idle", "api", "disk", []], default=[])
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
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
        count = 50 if quick else 300
        print(asyncio.run(jobs.measure(rounds=1 if quick else 3, per_round=count, in_flight=50)))
    if "idle" in which:
        count = 100 if quick else 2000
        print(asyncio.run(idle.measure(jobs=count, seconds=10 if quick else 60)))
    if "api" in which and arguments.rows:
        seconds = 2.0 if quick else 5.0
        print(asyncio.run(api.measure_rows(rows=arguments.rows, seconds=seconds)))
    elif "api" in which:
        print(asyncio.run(api.measure(jobs=10_000, seconds=2 if quick else 8)))
    if "disk" in which:
        after = 15.0 if quick else 60.0
        plan = disk.Plan(arguments.disk, arguments.disk_type, arguments.writers, after=after)
        text, well = asyncio.run(disk.measure(plan))
        print(text)
        if not well:
            sys.exit(1)


if __name__ == "__main__":
    main()
