"""The inside of a simulated virtual machine: runs the commands that are laid into its folder.

Started as a process of its own, so that whatever a command leaves behind dies with the machine. It
outlives the simulator, as a provider's machine outlives a requestor's daemon, and ends when it is
stopped or its folder is gone. Called as `python guest.py SPOOL`. Reads `SPOOL/<n>.json` (a list of
words), writes `<n>.out`, `<n>.err` and last `<n>.code`.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

_EVERY = 0.01
_IDLE = 0.05
_AWAKE = 2.0


def run(spool: Path, name: str) -> None:
    words = json.loads((spool / f"{name}.json").read_text())
    with (spool / f"{name}.out").open("wb") as out, (spool / f"{name}.err").open("wb") as err:
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            code = done.returncode
        except OSError as error:
            err.write(str(error).encode())
            code = -1
    ready = spool / f"{name}.tmp"
    ready.write_text(str(code))
    ready.rename(spool / f"{name}.code")


def main() -> None:
    spool = Path(sys.argv[1])
    seen: set[str] = set()
    worked = time.monotonic()
    (spool / "up").touch()
    while True:
        try:
            entries = sorted(os.listdir(spool))
        except FileNotFoundError:
            return
        for entry in entries:
            name, _, kind = entry.partition(".")
            if kind == "json" and name not in seen:
                seen.add(name)
                worked = time.monotonic()
                threading.Thread(target=run, args=(spool, name), daemon=True).start()
        time.sleep(_EVERY if time.monotonic() - worked < _AWAKE else _IDLE)


if __name__ == "__main__":
    main()
