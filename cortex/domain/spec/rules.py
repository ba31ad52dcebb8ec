"""The rules of job and group specs as far as JSON Schema can say them.

What is checked is what the models check. This says the same to editors, and to whoever makes
requests from the OpenAPI document: whatever is allowed here is taken there.
"""

from datetime import timedelta
from typing import Any, Final

from cortex.domain.money import POSITIVE
from cortex.domain.names import NAME, NO_NUL, WORDS
from cortex.domain.spec.forms import ABSOLUTE, RELATIVE, between, cores, duration, size
from cortex.domain.written import secret_schema

_Schema = dict[str, Any]
_SECOND: Final = timedelta(seconds=1)
_TEXT: Final = {"type": "string", "pattern": NO_NUL}
_ENV: Final = {"pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$"}
_IMAGE: Final = r"^[a-z0-9][A-Za-z0-9_.\-/:@]{0,499}$"
_LABEL_KEY: Final = "^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$"
# Printable characters without the comma. Which others are printable no range says: left out are
# those that never are (controls, blanks but the usual one, marks of direction, private ones).
_LABEL: Final = (
    r"^[^,\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u1680\u180e\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u3000\ue000-\uf8ff\ufeff\ufff0-\ufffb\ufffe\uffff]{0,255}$"
)
_SHORT: Final = r"^[^ \u0000-\u001f\u007f-\u00a0]([^\u0000]*[^ \u0000-\u001f\u007f-\u00a0])?$"
_FRAME: Final = between(0, 1_048_574)
_STRETCH: Final = f"({_FRAME}|{between(0, 999)}-{between(1000, 9000)}(x{between(1, 1000)})?)"
LABELS: Final[_Schema] = {
    "additionalProperties": {
        "anyOf": [{"type": "string", "pattern": _LABEL}, {"type": ["number", "boolean"]}]
    },
    "propertyNames": {"pattern": _LABEL_KEY},
}


def span(least: timedelta, most: timedelta) -> _Schema:
    """A duration: seconds, or a text."""
    return {
        "anyOf": [
            {
                "type": "number",
                "minimum": least.total_seconds(),
                "maximum": most.total_seconds(),
            },
            {"type": "string", "pattern": f"^{duration(least, most)}$"},
        ]
    }


def _bytes(least: int, most: int) -> _Schema:
    return {
        "anyOf": [
            {"type": "integer", "minimum": least, "maximum": most},
            {"type": "string", "pattern": f"^{size(least, most)}$"},
        ]
    }


_WEIGHT: Final = {
    "anyOf": [
        {"const": 0},
        {"type": "number", "minimum": 1e-18, "maximum": 1000},
        {"type": "string", "pattern": rf"^\+?({between(0, 999)}(\.[0-9]{{1,100}})?|1000(\.0+)?)$"},
    ]
}
_DAY: Final = timedelta(days=1)
_RELATIVE: Final = {"type": "string", "pattern": f"^{RELATIVE}$", "maxLength": 1024}
_URL: Final = (
    r"([Hh][Tt][Tt][Pp][Ss]?|[Ss]3)://[A-Za-z0-9][A-Za-z0-9.-]{0,250}(:[0-9]{1,4})?(/[!-~]*)?"
)
_VALUE: Final = {"anyOf": [_TEXT, {"type": ["number", "boolean"]}]}
_SHORT_TEXT: Final = {"type": "string", "pattern": _SHORT, "minLength": 1, "maxLength": 128}
_RULES: Final[dict[str, dict[str, _Schema]]] = {
    "Resources": {
        "cpu": {
            "anyOf": [
                {"type": "number", "minimum": 0.01, "maximum": 1024},
                {"type": "string", "pattern": f"^{cores()}$"},
            ]
        },
        "memory": _bytes(4 * 2**20, 64 * 2**40),
        "storage": _bytes(0, 1024 * 2**40),
    },
    "Volume": {
        "path": {"type": "string", "pattern": f"^{ABSOLUTE}$", "maxLength": 4096},
        "size": _bytes(2**20, 1024 * 2**40),
    },
    "Placement": {
        "timeout": span(_SECOND, timedelta(days=7)),
        "providers": {"items": _SHORT_TEXT},
        "regions": {"items": _SHORT_TEXT},
    },
    "Weights": dict.fromkeys(("cost", "performance", "availability"), _WEIGHT),
    "Retries": {"backoff": span(_SECOND, _DAY), "max_backoff": span(_SECOND, _DAY)},
    "AutoExtend": {
        "by": span(_SECOND, timedelta(days=90)),
        "up_to": span(_SECOND, timedelta(days=90)),
    },
    "Input": {
        "path": {"anyOf": [_RELATIVE, {"type": "null"}]},
        "to": {"anyOf": [_RELATIVE, {"const": "."}]},
    },
    "Gpu": {"model": {"anyOf": [_SHORT_TEXT, {"type": "null"}]}},
    "Port": {"name": {"anyOf": [_SHORT_TEXT, {"type": "null"}]}},
    "Render": {
        "scene": {"type": "string", "pattern": f"^({ABSOLUTE}|{_URL})$", "maxLength": 4096},
        "sha256": {"anyOf": [{"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}, {"type": "null"}]},
        "frames": {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 1_048_574},
                {"type": "string", "pattern": f"^{_STRETCH}( *, *{_STRETCH}){{0,999}}$"},
            ]
        },
    },
}
_OF_JOB: Final[dict[str, _Schema]] = {
    "name": {"type": "string", "pattern": NAME},
    "image": {"anyOf": [{"type": "string", "pattern": _IMAGE}, {"type": "null"}]},
    "command": {
        "items": {**_TEXT, "maxLength": 131_071},
        "prefixItems": [{"type": "string", "pattern": WORDS, "maxLength": 131_071}],
    },
    "args": {"items": {**_TEXT, "maxLength": 131_071}},
    "workdir": {
        "anyOf": [
            {"type": "string", "pattern": f"^{ABSOLUTE}$", "maxLength": 4096},
            {"type": "null"},
        ]
    },
    "env": {"propertyNames": _ENV, "additionalProperties": _VALUE},
    "secret_env": {
        "propertyNames": _ENV,
        "additionalProperties": secret_schema(_TEXT, {"type": ["number", "boolean"]}),
    },
    "duration": span(_SECOND, timedelta(days=90)),
    "budget": {"anyOf": [POSITIVE, {"type": "null"}]},
    "outputs": {"items": {"type": "string", "pattern": f"^/?{RELATIVE}$"}},
    "labels": LABELS,
}


def with_rules(schema: _Schema) -> _Schema:
    """The schema of a job spec, with what is known beyond the types of its fields."""
    parts = schema["$defs"]
    for name, fields in _RULES.items():
        _apply(parts[name]["properties"], fields)
    _apply(parts["Placement"]["properties"], {"max_price": _OF_JOB["budget"]})
    _apply(schema["properties"], _OF_JOB)
    return schema


def _apply(properties: dict[str, Any], rules: dict[str, _Schema]) -> None:
    for name, rule in rules.items():
        kept = dict(properties[name])
        if "anyOf" in rule:
            for word in ("type", "anyOf", "$ref"):
                kept.pop(word, None)
        properties[name] = {**kept, **rule}
