"""What parameters of a template take."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from cortex.domain.templates.parameters import LONGEST_VALUE, Parameter, Value, values_of


def parameter(**fields: Any) -> Parameter:
    return Parameter.model_validate({"type": "string", **fields})


@pytest.mark.parametrize(
    ("fields", "given", "value"),
    [
        ({"type": "string"}, "", ""),
        ({"type": "string", "pattern": "a|b", "max_length": 1}, "b", "b"),
        ({"type": "integer"}, "-7", -7),
        ({"type": "integer"}, "1.0", 1),
        ({"type": "integer"}, "1e3", 1000),
        ({"type": "number"}, "0.10", Decimal("0.10")),
        ({"type": "boolean"}, "true", True),
        ({"type": "choice", "choices": [1, "b"]}, "1", "1"),
    ],
)
def test_what_a_text_stands_for(fields: dict[str, Any], given: str, value: Value) -> None:
    taken = parameter(**fields).value(given)
    assert (taken, type(taken)) == (value, type(value))


@pytest.mark.parametrize(
    ("fields", "given", "message"),
    [
        ({"type": "string", "min_length": 2}, "a", "at least 2 characters"),
        ({"type": "string", "max_length": 1}, "ab", "at most 1 characters"),
        ({"type": "string", "pattern": "a|b"}, "ab", "must match"),
        ({"type": "string", "pattern": "a"}, "a\n", "must match"),
        ({"type": "string", "pattern": "(a+)+"}, "a" * 1000 + "b", "must match"),
        ({"type": "string"}, "a" * (LONGEST_VALUE + 1), "longer than"),
        ({"type": "string"}, "a\0", "NUL"),
        ({"type": "integer"}, "1.5", "whole number"),
        ({"type": "integer"}, "true", "must be a number"),
        ({"type": "integer"}, "٣", "must be a number"),
        ({"type": "integer"}, "9" * 40, "2^53"),
        ({"type": "integer", "min": 2}, "1", "at least 2"),
        ({"type": "number", "max": "0.5"}, "0.51", "at most 0.5"),
        ({"type": "number"}, "nan", "must be a number"),
        ({"type": "boolean"}, "True", "`true` or `false`"),
        ({"type": "choice", "choices": ["a"]}, "b", "one of `a`"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], given: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parameter(**fields).value(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "string", "min": 1}, "`min` is not for"),
        ({"type": "integer", "choices": ["a"]}, "`choices` is not for"),
        ({"type": "choice"}, "`choices` is required"),
        ({"type": "choice", "choices": ["a", "a"]}, "twice"),
        ({"type": "number", "min": 2, "max": 1}, "more than `max`"),
        ({"type": "string", "min_length": 2, "max_length": 1}, "more than `max_length`"),
        ({"type": "string", "pattern": "("}, "no regular expression"),
        ({"type": "string", "pattern": "((a{999}){999}){999}"}, "no regular expression"),
        ({"type": "integer", "default": "x"}, "`default` must be a number"),
        ({"type": "integer", "default": 1, "min": 2}, "`default` must be at least 2"),
        ({"type": "string", "default": "a", "required": True}, "never required"),
        ({"type": "float"}, "'string', 'integer'"),
    ],
)
def test_what_contradicts_itself(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parameter(**fields)
    assert message in str(caught.value)


def test_values_of_all() -> None:
    parameters = {
        "a": parameter(),
        "b": parameter(default="x"),
        "c": parameter(required=False),
        "d": parameter(type="integer", default=3),
    }
    assert values_of(parameters, {"a": "1"}) == ({"a": "1", "b": "x", "d": 3}, [])
    _, errors = values_of(parameters, {"d": "x", "e": "1"})
    assert [error.field for error in errors] == ["params.e", "params.a", "params.d"]
