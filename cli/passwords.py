"""Passwords as they come in: asked for, or the first line of stdin. Never as an option: options are
seen by everybody on the machine, and kept by shells.
"""

import sys
from getpass import getpass

from cli.errors import BadInput
from cli.state import interactive


def asked_password(prompt: str = "Password") -> str:
    """A password that exists.

    Raises:
        BadInput: there is none.
    """
    return _given(getpass(f"{prompt}: ") if interactive() else _line(), prompt)


def new_password(prompt: str = "New password") -> str:
    """A password that is to be set; a person types it twice.

    Raises:
        BadInput: there is none, or the two differ.
    """
    if not interactive():
        return _given(_line(), prompt)
    password = _given(getpass(f"{prompt}: "), prompt)
    if getpass(f"{prompt}, once more: ") != password:
        raise BadInput("the two are not the same; nothing was changed")
    return password


def _line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _given(password: str, prompt: str) -> str:
    if not password:
        raise BadInput(f"{prompt.lower()}: nothing was given; type it, or send a line to stdin")
    return password
