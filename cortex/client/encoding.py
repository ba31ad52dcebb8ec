"""From values of Python to JSON, or an error that names what JSON has no form for."""

import json
import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import orjson

from cortex.client.errors import InvalidValue
from cortex.domain.money import Money
from cortex.domain.units import format_duration


def encode(value: object) -> bytes:
    """The value as JSON; whole numbers of any size, durations and amounts as people write them.

    Raises:
        InvalidValue: a part of it has no form in JSON.
    """
    body = plain(value)
    try:
        return orjson.dumps(body)
    except TypeError:  # among others a number over 64 bits
        pass
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, default=_other).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"it has no form in JSON: {error}") from None


def plain(value: Any, path: str = "") -> Any:
    """A value of a spec or a configuration as JSON has it.

    Raises:
        InvalidValue: it is no number, half of a character, or a key is no text; says where.
    """
    if isinstance(value, str):
        return _whole_text(value, path)
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, float | Decimal):
        return _number(value, path)
    if isinstance(value, Mapping):
        return {
            _key(key, path): plain(part, f"{path}.{key}" if path else str(key))
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(part, f"{path}[{number}]") for number, part in enumerate(value)]
    if isinstance(value, bytes | bytearray | set | frozenset):
        kind = type(value).__name__
        raise InvalidValue(f"{_where(path)} is a {kind}, which JSON has no form for")
    return value


def quoted(text: str, safe: str = "/") -> str:
    """The text as a part of a URL's path.

    Raises:
        InvalidValue: it is no text that can be sent.
    """
    return quote(_whole_text(text, ""), safe=safe)


def check_sendable(*texts: str) -> None:
    """Refuse a text that has no bytes."""
    for text in texts:
        _whole_text(text, "")


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse a header that HTTP has no form for."""
    for name, text in headers.items():
        if not (text.isascii() and text.isprintable()):
            raise InvalidValue(f"`{name}` may have printable ASCII characters only")


def _whole_text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text[:60].encode("ascii", "backslashreplace").decode()
        raise InvalidValue(
            f"{_where(path)} has half of a character (a lone surrogate), "
            f"as text that was no UTF-8 has: `{shown}`"
        ) from None
    return text


def _number(value: float | Decimal, path: str) -> float | str:
    if not math.isfinite(value):
        raise InvalidValue(f"{_where(path)} is {value}, which is no number that can be sent")
    return str(value) if isinstance(value, Decimal) else value


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidValue(f"{_where(path)} has the key {key!r}, which is no text")
    return _whole_text(key, path)


def _where(path: str) -> str:
    return f"`{path}`" if path else "the value"


def _other(value: object) -> Any:
    """What the fast encoder knows by itself, such as times."""
    return orjson.loads(orjson.dumps(value))
