"""What pydantic says about a value, in the words of our own messages."""

import re
from datetime import timedelta
from typing import Final

from cortex.domain.units import format_duration

_TIMEDELTA = re.compile(r"datetime\.timedelta\(([a-z]+=\d+(?:, [a-z]+=\d+)*)\)")
_DECIMAL = re.compile(r"Decimal\('([^']+)'\)")

_WHOLE: Final = "must be a whole number"
_NUMBER: Final = "must be a number"
_TRUTH: Final = "must be `true` or `false`"
_TEXT: Final = "must be text"
_LIST: Final = "must be a list"
_MAPPING: Final = "must be a mapping of names to values"
_TIME: Final = "must be a time such as `2026-01-31T12:00:00Z`"

_OF_KIND: Final = {
    "extra_forbidden": "is not a known field",
    "missing": "is required",
    "none_required": "must be left out, or null",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(
        ("float_type", "float_parsing", "decimal_type", "decimal_parsing", "finite_number"), _NUMBER
    ),
    **dict.fromkeys(("bool_type", "bool_parsing"), _TRUTH),
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), _TEXT),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"),
        _MAPPING,
    ),
    **dict.fromkeys(
        (
            *("datetime_type", "datetime_parsing", "datetime_from_date_parsing"),
            *("datetime_object_invalid", "timezone_aware"),
        ),
        _TIME,
    ),
}
"""By pydantic's name for what is wrong."""

_FORMS: Final = (
    (re.compile(r"String should match pattern '(.*)'", re.DOTALL), r"must match `\1`"),
    (
        re.compile(r"(?:String|Value|Data) should have (at (?:least|most)) (\d+) (\w+)"),
        r"must have \1 \2 \3",
    ),
    (
        re.compile(r"\w+ should have (at (?:least|most)) (\d+) items? after validation, not (.+)"),
        r"must have \1 \2 entries, and has \3",
    ),
    (re.compile(r"Input should be "), "must be "),
)


def worded(message: str, kind: str) -> str:
    """What is wrong with a value, as the end of a sentence that begins with its name.

    Args:
        message: Pydantic's.
        kind: Its `type` of the error.
    """
    if kind in _OF_KIND:
        return _OF_KIND[kind]
    text = _DECIMAL.sub(r"\1", _TIMEDELTA.sub(_duration, message.removeprefix("Value error, ")))
    for form, ours in _FORMS:
        if form.match(text):
            text = form.sub(ours, text, count=1)
            break
    return text[:1].lower() + text[1:]


def _duration(match: re.Match[str]) -> str:
    parts = dict(part.split("=") for part in match[1].split(", "))
    return format_duration(timedelta(**{unit: int(count) for unit, count in parts.items()}))
