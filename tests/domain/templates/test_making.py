"""What is checked of a template, also where its parameters have no values yet."""

from typing import Any

import pytest

from cortex.domain.errors import InvalidRequest
from cortex.domain.templates.making import check_template
from cortex.domain.templates.parameters import Parameter

TEXT: dict[str, Any] = {"type": "string"}


def wrong(kind: Any, spec: dict[str, Any], **parameters: dict[str, Any]) -> list[str]:
    made = {name: Parameter.model_validate(fields) for name, fields in parameters.items()}
    try:
        check_template(kind, spec, made)
    except InvalidRequest as error:
        return [problem.field for problem in error.errors]
    return []


@pytest.mark.parametrize(
    ("kind", "spec", "fields"),
    [
        ("job", {"image": "${{ a }}"}, []),
        ("job", {"name": "Job-${{ a }}", "image": "busybox"}, []),
        ("job", {"image": "${{ a }}", "resources": {"cpu": "much"}}, ["job.resources.cpu"]),
        ("job", {"labels": {"k": "${{ a }}"}}, ["job"]),
        ("job", {"image": "x", "secret_env": {"K": "x${{ a }}"}}, ["job.secret_env.K"]),
        ("job", {"image": "x", "secret_env": {"K": "${{ a }}"}}, []),
        ("job", {"image": "${{ b }}", "env": {"K": "${{ a }}"}}, ["job.image"]),
        ("group", {"jobs": [{"name": "a", "command": ["${{ a }}"]}]}, []),
        (
            "group",
            {"jobs": [{"name": "a", "secret_env": {"K": "k"}, "command": ["${{ a }}"]}]},
            ["group.jobs[0].secret_env.K"],
        ),
        (
            "group",
            {"jobs": [{"name": "a", "count": 0, "command": ["${{ a }}"]}]},
            ["group.jobs[0].count"],
        ),
    ],
)
def test_with_a_parameter_without_value(kind: str, spec: dict[str, Any], fields: list[str]) -> None:
    assert wrong(kind, spec, a=TEXT) == fields


TRUTH: dict[str, Any] = {"type": "boolean"}
SMALL: dict[str, Any] = {"type": "choice", "choices": ["a", "b"]}


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("kind", "spec", "parameter", "fields"),
    [
        ("job", {"command": ["x"], "unknown": "${{ a }}"}, TEXT, ["job.unknown"]),
        ("job", {"command": ["x"], "unknown": {"k": ["${{ a }}"]}}, TEXT, ["job.unknown"]),
        (
            "job",
            {"command": ["x"], "resources": {"gpus": "x${{ a }}"}},
            TEXT,
            ["job.resources.gpus"],
        ),
        ("job", {"command": ["x"], "resources": "${{ a }}"}, TEXT, ["job.resources"]),
        ("job", {"command": ["x"], "env": "${{ a }}"}, {"type": "integer"}, ["job.env"]),
        ("job", {"command": ["x"], "duration": "${{ a }}"}, SMALL, ["job.duration"]),
        ("job", {"command": ["x"], "duration": "${{ a }}"}, TEXT, []),
        ("job", {"command": ["x"], "resources": {"cpu": "${{ a }}"}}, TEXT, []),
        ("job", {"image": "x", "name": "${{ a }}"}, TRUTH, []),
        (
            "job",
            {"image": "x", "name": "${{ a }}"},
            {"type": "choice", "choices": ["No Name", "fine"]},
            [],
        ),
        ("group", {"jobs": "${{ a }}"}, TEXT, ["group.jobs"]),
        ("group", {"jobs": ["${{ a }}", {"name": "b"}]}, TEXT, ["group.jobs[0]"]),
        (
            "group",
            {"jobs": [{"name": "a", "command": ["x"], "unknown": "${{ a }}"}]},
            TEXT,
            ["group.jobs[0].unknown"],
        ),
        (
            "group",
            {
                "defaults": {"resources": "${{ a }}", "x-mine": "${{ a }}"},
                "jobs": [{"name": "a", "command": ["x"]}],
            },
            TEXT,
            ["group.defaults.resources"],
        ),
        (
            "group",
            {
                "jobs": [
                    {"name": "b", "command": ["x"]},
                    {"name": "a-{index}", "command": ["{x}"], "matrix": {"x": [1, "${{ a }}"]}},
                    {"name": "c", "command": ["x", "${{ a }}"], "after": "b"},
                ]
            },
            TEXT,
            [],
        ),
    ],
)
def test_what_no_value_can_mend(
    kind: str, spec: dict[str, Any], parameter: dict[str, Any], fields: list[str], required: bool
) -> None:
    assert wrong(kind, spec, a={**parameter, "required": required}) == fields


def test_with_defaults_all_of_it_is_checked() -> None:
    spec = {"name": "${{ a }}", "image": "busybox"}
    assert wrong("job", spec, a={**TEXT, "default": "No Name"}) == ["job.name"]
    group = {"jobs": [{"name": "a", "command": ["x"], "after": "${{ a }}"}]}
    assert wrong("group", group, a={**TEXT, "default": "nobody"}) == ["group.jobs[0].after"]


def test_the_default_of_a_secret_would_be_kept_in_clear() -> None:
    spec = {"image": "x", "secret_env": {"K": "${{ a }}"}}
    assert wrong("job", spec, a={**TEXT, "default": "hush"}) == ["job.secret_env.K"]
