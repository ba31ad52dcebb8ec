"""The inside of a simulated virtual machine: runs the commands that are laid into its folder.

Started as a process of its own, so that whatever a command leaves behind dies with the machine.
Called as `python guest.py SPOOL`; reads `SPOOL/<n>.json` (a list of words), writes `<n>.out`,
`<n>.err` and last `<n>.code`.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

_EVERY = 0.01


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
    (spool / "up").touch()
    while True:
        for entry in sorted(os.listdir(spool)):
            name, _, kind = entry.partition(".")
            if kind == "json" and name not in seen:
                seen.add(name)
                threading.Thread(target=run, args=(spool, name), daemon=True).start()
        time.sleep(_EVERY)


if __name__ == "__main__":
    main()
