"""Prints a job's output; on a terminal also what there is of a line that has not ended."""

import os
import sys

from cortex.schemas.jobs import LogEntry

_CLEAR = "\r\x1b[K"


def live() -> bool:
    """Whether lines that have not ended are shown: only to people, who see them replaced."""
    return sys.stdout.isatty()


class LinePrinter:
    """Prints lines, each to the stream that it was written to.

    A line that has not ended stands last on the terminal, and is written over when it changes.
    """

    def __init__(self) -> None:
        self._open: dict[str, LogEntry] = {}
        self._begun = False

    def show(self, line: LogEntry) -> None:
        """Print a line, or what there is of one."""
        self._open.pop(line.stream, None)
        if line.partial:
            self._open[line.stream] = line
            self.again()
            return
        self.clear()
        print_line(line)
        self.again()

    def clear(self) -> None:
        """Something else is printed next: take away what has not ended, for a while."""
        if self._begun:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()
            self._begun = False

    def again(self) -> None:
        """Show what has not ended, the newest of it."""
        for line in list(self._open.values())[-1:]:
            self.clear()
            sys.stdout.write(_short(line.text))
            sys.stdout.flush()
            self._begun = True

    def finish(self) -> None:
        """Nothing more comes: what has not ended stays."""
        if self._begun:
            print(flush=True)
            self._begun = False


def print_line(line: LogEntry) -> None:
    """One whole line of a job's output."""
    stream = sys.stdout if line.stream == "stdout" else sys.stderr
    stream.write(line.text + "\n")
    stream.flush()


def _short(text: str) -> str:
    """What fits into one row: only that can be written over."""
    try:
        width = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        width = 0
    return text[-(width or 80) + 1 :]  # a terminal may not know its width
