"""What the server wrote (CSV, JSON lines), into a file or to stdout."""

import sys
from pathlib import Path

from cli import render
from cli.state import State


def write_sheet(state: State, target: str, text: str) -> None:
    """Write it to the file of this name, or to stdout for `-`."""
    data = text.encode()
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    Path(target).write_bytes(data)
    rows = max(text.count("\r\n") - 1, 0) if "\r\n" in text else text.count("\n")
    render.say(state, f"{rows} rows were written to {target}")
