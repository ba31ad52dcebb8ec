"""The exported JSON Schema of group specs."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cortex.domain.groups.json_schema import group_spec_schema, render

CHECKED_IN = Path(__file__).parents[3] / "docs" / "group-spec.schema.json"
VALIDATOR = Draft202012Validator(group_spec_schema())


def test_the_file_is_current() -> None:
    assert CHECKED_IN.read_text() == render(), (
        "write it anew: python -m cortex.domain.groups.json_schema > docs/group-spec.schema.json"
    )


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(group_spec_schema())


@pytest.mark.parametrize(
    "spec",
    [
        {"jobs": [{"name": "a", "command": ["x"]}]},
        {"defaults": {"image": "busybox"}, "jobs": [{"name": "a"}]},
        {
            "policy": "best_effort",
            "concurrency": 50,
            "prepare_timeout": "90s",
            "jobs": [
                {"name": "a", "image": "b", "matrix": {"lr": [0.1, "x", True]}, "retries": 2},
                {"name": "b", "command": ["x"], "after": "a", "inputs": [{"from": "a"}]},
                {"name": "c", "command": ["x"], "after": ["a", "b"], "count": 500},
            ],
        },
    ],
)
def test_accepts_what_users_write(spec: dict[str, Any]) -> None:
    VALIDATOR.validate(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"jobs": []},
        {"jobs": [{"command": ["x"]}]},
        {"jobs": [{"name": "a", "colour": 1}]},
        {"jobs": [{"name": "a"}], "defaults": {"name": "x"}},
        {"jobs": [{"name": "a", "matrix": {"lr": 1}}]},
        {"jobs": [{"name": "a"}], "policy": "some"},
    ],
)
def test_refuses_what_the_server_would(spec: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(spec)
