"""The exported JSON Schema of job specs."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cortex.domain.schema import job_spec_schema, render

CHECKED_IN = Path(__file__).parents[2] / "docs" / "job-spec.schema.json"
VALIDATOR = Draft202012Validator(job_spec_schema())


def test_the_file_is_current() -> None:
    assert CHECKED_IN.read_text() == render(), (
        "write it anew: python -m cortex.domain.schema > docs/job-spec.schema.json"
    )


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(job_spec_schema())


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "busybox"},
        {"command": ["a"], "retries": 2, "budget": "1 USD", "duration": 90, "env": {"A": 1}},
        {
            "command": ["a"],
            "retries": {"on_lost": 1},
            "resources": {"cpu": "250m", "memory": "1Gi"},
        },
        {"render": {"scene": "/a.blend", "frames": 7}},
        {"command": ["a"], "placement": {"max_price": {"amount": "0.5", "currency": "USD"}}},
    ],
)
def test_accepts_what_users_write(spec: dict[str, Any]) -> None:
    VALIDATOR.validate(spec)


@pytest.mark.parametrize(
    "spec",
    [{}, {"command": "a"}, {"command": ["a"], "colour": 1}, {"command": ["a"], "budget": "cheap"}],
)
def test_refuses_what_the_server_would(spec: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(spec)
