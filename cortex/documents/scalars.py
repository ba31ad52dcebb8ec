"""Scalars by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema)."""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from cortex.documents.errors import AmbiguousValue, DocumentError

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_NUMERIC = re.compile(r"[-+.0-9]")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_OLD_OCTAL = re.compile(r"([-+]?)0[0-7]+")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?")
# `int` refuses longer ones by itself; no field takes them.
_MOST_DIGITS: Final = 1000


def resolve(text: str, *, exact: bool = False) -> object:
    """What a plain scalar means where no text is wanted.

    Args:
        text: As it was written.
        exact: Give fractions as `Decimal`, to the last digit.

    Raises:
        AmbiguousValue: a number that YAML 1.1 and 1.2 read differently.
    """
    if text in NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    return _number(text, exact=exact) if _NUMERIC.match(text) else text


def _number(text: str, *, exact: bool) -> object:
    if len(text) > _MOST_DIGITS and _FLOAT.fullmatch(text):
        raise DocumentError(f"is a number of {len(text):,} characters")
    if _INT.fullmatch(text):
        _refuse_old_octal(text)
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return _fraction(text, exact=exact)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    if _UNDERSCORED.fullmatch(text):
        plain = text.replace("_", "")
        raise AmbiguousValue(
            f"`{text[:40]}` is a number to YAML 1.1 and a text to YAML 1.2; "
            f"write `{plain[:40]}`, or put it in quotes"
        )
    return text


def _fraction(text: str, *, exact: bool) -> object:
    if not exact:
        return float(text)
    try:
        return Decimal(text)
    except InvalidOperation:  # its exponent has twenty digits
        raise DocumentError("is a number out of all range") from None


def _refuse_old_octal(text: str) -> None:
    match = _OLD_OCTAL.fullmatch(text)
    if match is None or not text.strip("+-0"):
        return
    octal, decimal = int(text, 8), int(text)
    if octal != decimal:
        raise AmbiguousValue(
            f"`{text[:40]}` is {octal} to YAML 1.1 (octal) and {decimal} to YAML 1.2; "
            f"write `{octal}` or `{decimal}`"
        )
