"""Passwords at a terminal, where nothing is shown of them, and as lines of stdin."""

import os
import pty
import subprocess
import sys

import pytest

from tests.support import patience

_ASKS = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # it is this process's terminal
from cli.passwords import new_password
from cli.errors import BadInput
try:
    print("set:", len(new_password()))
except BadInput as error:
    print("refused:", error.message)
"""


def typed(*lines: str) -> str:
    """What the terminal shows while a person types a new password."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _ASKS],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(slave)
    shown = b""
    try:
        for line in lines:
            while not shown.endswith(b": "):
                shown += os.read(master, 1024)
            os.write(master, f"{line}\n".encode())
            shown += os.read(master, 1)  # the end of the line, which is shown
        while True:
            try:
                rest = os.read(master, 1024)
            except OSError:  # the other end is closed
                break
            if not rest:
                break
            shown += rest
        assert process.wait(patience(10)) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return shown.decode()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("lines", "end"),
    [
        (("violet harbour", "violet harbour"), "set: 14"),
        (("violet harbour", "violet harbor"), "refused: the two are not the same"),
        (("",), "refused: new password: nothing was given"),
    ],
)
def test_a_person_types_it_twice_and_sees_nothing_of_it(lines: tuple[str, ...], end: str) -> None:
    shown = typed(*lines)
    assert "New password: " in shown
    assert end in shown
    assert "violet" not in shown
