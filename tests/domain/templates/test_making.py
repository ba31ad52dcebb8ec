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


def test_with_defaults_all_of_it_is_checked() -> None:
    spec = {"name": "${{ a }}", "image": "busybox"}
    assert wrong("job", spec, a={**TEXT, "default": "No Name"}) == ["job.name"]
    group = {"jobs": [{"name": "a", "command": ["x"], "after": "${{ a }}"}]}
    assert wrong("group", group, a={**TEXT, "default": "nobody"}) == ["group.jobs[0].after"]


def test_the_default_of_a_secret_would_be_kept_in_clear() -> None:
    spec = {"image": "x", "secret_env": {"K": "${{ a }}"}}
    assert wrong("job", spec, a={**TEXT, "default": "hush"}) == ["job.secret_env.K"]
