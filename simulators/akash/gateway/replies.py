"""Answers in the gateway's three forms: JSON, plain text with a newline, nothing."""

import json
import re
from typing import Any

from simulators.akash.tokens import Denied
from simulators.kit.raw import Reply

_JSON = ("Content-Type", "application/json; charset=UTF-8")
_TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))

_NO_UTF8 = re.compile("[\udc80-\udcff]")


def json_reply(status: int, body: Any) -> Reply:
    return Reply(status, go_json(body), (_JSON,))


def text(status: int, body: str) -> Reply:
    """As Go's `http.Error`."""
    return Reply(status, f"{body}\n".encode(), _TEXT)


def empty(status: int) -> Reply:
    return Reply(status)


def denial(why: Denied) -> Reply:
    body = go_json({"message": why.message})
    return Reply(why.status, body, (("Content-Type", "application/json"),))


def go_json(value: Any) -> bytes:
    """JSON as Go writes it: no spaces, and what could be HTML or a line end is escaped.

    Bytes that are no UTF-8 come as Python's `surrogateescape` has them, and leave as U+FFFD each.
    """
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        raw = raw.replace(char, f"\\u{ord(char):04x}")
    return _NO_UTF8.sub(r"\\ufffd", raw).encode()
