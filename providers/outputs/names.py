"""Names of result files as people can read, type and fetch them; no two become the same."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MAX_NAME = 255
"""Bytes of one name that file systems take."""
_PLAIN = re.compile(rb"[ -~]{1,255}")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Marks that turn the direction of the text around them: `exe.txt` could be read for `txt.exe`.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(name: bytes) -> str:
    """One name of a path: what is no UTF-8, or a control character, as `%E9`; at most 255 bytes."""
    if _PLAIN.fullmatch(name):
        return name.decode("ascii")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode("utf-8", "surrogateescape")
    if any(_odd(letter) for letter in text):
        text = "".join(_written(letter) if _odd(letter) else letter for letter in text)
    return _short(text, name)


def distinct(names: Iterable[bytes]) -> dict[bytes, str]:
    """Each name of one folder with its printable form. A name that is its own form keeps it;
    of others that come out the same, the second gets `~2`, in the order of their bytes.
    """
    given = sorted(
        names, key=lambda name: (printable(name).encode("utf-8", "replace") != name, name)
    )
    forms: dict[bytes, str] = {}
    taken: set[str] = set()
    for name in given:
        form, number = printable(name), 1
        while form in taken:
            number += 1
            stem, dot, end = printable(name).rpartition(".")
            stem, end = (stem, dot + end) if stem else (end, "")
            form = _short(f"{stem}~{number}{end}", name + b"~%d" % number)
        taken.add(form)
        forms[name] = form
    return forms


def _odd(letter: str) -> bool:
    return letter in _TURNING or unicodedata.category(letter) in _UNPRINTABLE


def _written(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))


def _short(text: str, name: bytes) -> str:
    raw = text.encode()
    if len(raw) <= MAX_NAME:
        return text
    mark = "~" + hashlib.sha256(name).hexdigest()[:8]
    return raw[: MAX_NAME - len(mark)].decode(errors="ignore") + mark
