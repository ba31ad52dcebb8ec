"""The market's constraints: LDAP-like filters over flat properties.

What cannot be read matches nothing, as at the real daemon, which accepts it all the same.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_TEST = re.compile(r"([^()<>=]+?)(<=|>=|=|<|>)([^()]*)")


class _Broken(ValueError):
    pass


def matches(text: str, properties: Mapping[str, Any]) -> bool:
    """Whether the properties fulfil the constraint."""
    text = text.strip()
    if text in ("", "()"):
        return True
    try:
        holds, rest = _expression(text, properties)
        return holds and not rest.strip()
    except _Broken:
        return False


def _expression(text: str, properties: Mapping[str, Any]) -> tuple[bool, str]:
    text = text.lstrip()
    if not text.startswith("("):
        raise _Broken
    inner = text[1:].lstrip()
    if inner[:1] in ("&", "|", "!"):
        return _combined(inner[0], inner[1:], properties)
    body, closed, rest = inner.partition(")")
    if not closed:
        raise _Broken
    if not body.strip():
        return True, rest
    test = _TEST.fullmatch(body)
    if test is None:
        raise _Broken
    return _holds(properties.get(test[1].strip()), test[2], test[3]), rest


def _combined(kind: str, text: str, properties: Mapping[str, Any]) -> tuple[bool, str]:
    parts: list[bool] = []
    rest = text.lstrip()
    while rest.startswith("("):
        part, rest = _expression(rest, properties)
        parts.append(part)
        rest = rest.lstrip()
    if not rest.startswith(")") or (kind == "!" and len(parts) != 1):
        raise _Broken
    result = {"&": all(parts), "|": any(parts), "!": not (parts and parts[0])}[kind]
    return result, rest[1:]


def _holds(value: Any, operator: str, wanted: str) -> bool:
    if value is None:
        return False
    if operator == "=":
        if wanted == "*":
            return True
        if isinstance(value, list):
            return any(_same(each, wanted) for each in value)
        return _same(value, wanted)
    try:
        have, need = Decimal(str(value)), Decimal(wanted)
    except InvalidOperation:
        return False
    return {"<": have < need, "<=": have <= need, ">": have > need, ">=": have >= need}[operator]


def _same(value: Any, wanted: str) -> bool:
    if wanted.endswith("*"):
        return str(value).startswith(wanted[:-1])
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text == wanted
