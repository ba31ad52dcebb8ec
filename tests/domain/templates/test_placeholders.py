"""`${{ name }}` in specs."""

from decimal import Decimal
from typing import Any

import pytest

from cortex.documents import shape_of
from cortex.domain.spec import JobSpec
from cortex.domain.templates.parameters import Value
from cortex.domain.templates.placeholders import MOST_TEXT, TooLong, fill, merged, places

SHAPE = shape_of(JobSpec)
VALUES: dict[str, Value] = {
    "n": 3,
    "f": Decimal("0.10"),
    "t": True,
    "s": "a b",
    "braces": "${{ n }}",
}


@pytest.mark.parametrize(
    ("spec", "filled"),
    [
        ({"resources": {"pids": "${{ n }}"}}, {"resources": {"pids": 3}}),
        ({"resources": {"cpu": "${{f}}"}}, {"resources": {"cpu": Decimal("0.10")}}),
        ({"read_only_root": "${{ t }}"}, {"read_only_root": True}),
        ({"env": {"A": "${{ t }}"}}, {"env": {"A": "true"}}),
        ({"args": ["${{ n }}", "x${{ n }}-${{ f }}${{ t }}"]}, {"args": ["3", "x3-0.1true"]}),
        (
            {"args": ["$${{ n }}", "$$${{ n }}", "$ {{ n }}"]},
            {"args": ["${{ n }}", "$${{ n }}", "$ {{ n }}"]},
        ),
        ({"args": ["${{ braces }}", "<${{ braces }}>"]}, {"args": ["${{ n }}", "<${{ n }}>"]}),
        (
            {"args": ["a", "${{ gone }}", "<${{ gone }}>"], "workdir": "${{ gone }}"},
            {"args": ["a", "<>"]},
        ),
        ({"env": {"A": "${HOME} {n} {{n}} $n"}}, {"env": {"A": "${HOME} {n} {{n}} $n"}}),
    ],
)
def test_filled(spec: Any, filled: Any) -> None:
    assert fill(spec, VALUES, SHAPE) == filled


def test_where_they_stand() -> None:
    spec = {
        "args": ["${{ a }}", {"x": "-${{ b }}${{ a }}"}],
        "name": "$${{ c }}",
        "env": {"${{ d }}": "${{ e"},
        "workdir": "${{ a.b }}",
    }
    found = {place.path: place for place in places(spec)}
    assert (found["args[0]"].names, found["args[0]"].whole) == (("a",), True)
    assert (found["args[1].x"].names, found["args[1].x"].whole) == (("b", "a"), False)
    assert (found["name"].names, found["name"].broken) == ((), False)
    assert found["env.${{ d }}"].broken
    assert found["workdir"].broken


def test_no_more_than_a_spec_may_hold() -> None:
    """A thousand placeholders for a long text would become a huge one."""
    spec = {"args": ["${{ s }}"] * 1000}
    with pytest.raises(TooLong):
        fill(spec, {"s": "x" * (MOST_TEXT // 999)}, SHAPE)


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ({}, {"a": {"b": 1, "c": [1, 2]}, "d": "x"}),
        ({"a": {"b": None}}, {"a": {"c": [1, 2]}, "d": "x"}),
        (
            {"a": {"c": [3]}, "d": {"e": {"f": None, "g": 1}}},
            {"a": {"b": 1, "c": [3]}, "d": {"e": {"g": 1}}},
        ),
        ({"a": "y"}, {"a": "y", "d": "x"}),
    ],
)
def test_overrides(patch: Any, result: Any) -> None:
    assert merged({"a": {"b": 1, "c": [1, 2]}, "d": "x"}, patch) == result
