"""`notify` of jobs and groups: what may stand there, and what is told of what may not."""

from typing import Any

import pytest
from pydantic import ValidationError

from cortex.domain.errors import InvalidRequest, field_errors
from cortex.domain.groups.expand import expand
from cortex.domain.groups.spec import GroupSpec
from cortex.domain.spec import JobSpec
from cortex.domain.spec.notify import ENDS, JobNotice


def job(notify: Any) -> JobSpec:
    return JobSpec.model_validate({"command": ["true"], "notify": notify})


def test_by_default_every_end_is_told_whoever_submits() -> None:
    notify = job({}).notify
    assert notify is not None
    assert (notify.on, notify.to) == (ENDS, ("me",))
    assert job(None).notify is None


def test_one_is_written_without_a_list_and_none_counts_twice() -> None:
    notify = job({"on": "stuck", "to": "ann"}).notify
    assert notify is not None
    assert (notify.on, notify.to) == ((JobNotice.STUCK,), ("ann",))
    twice = job({"on": ["failed", "stuck", "failed"], "to": ["me", "me"]}).notify
    assert twice is not None
    assert (twice.on, twice.to) == ((JobNotice.FAILED, JobNotice.STUCK), ("me",))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"on": ["failed", "ended"]}, "notify.on[1]"),
        ({"on": []}, "notify.on"),
        ({"on": ["schedule_paused"]}, "notify.on[0]"),
        ({"to": []}, "notify.to"),
        ({"to": ["me", "Ann"]}, "notify.to[1]"),
        ({"to": ["a@b\r\nBcc: c@d"]}, "notify.to[0]"),
        ({"to": [f"p{number}" for number in range(11)]}, "notify.to"),
        ({"by": "email"}, "notify.by"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        job(wrong)
    assert [each.field for each in field_errors(refused.value)] == [field]


class TestGroup:
    def test_it_stands_at_the_top(self) -> None:
        spec = GroupSpec.model_validate(
            {"notify": {"on": ["failed"]}, "jobs": [{"name": "x", "command": ["true"]}]}
        )
        (member,) = expand(spec)
        assert member.spec.notify is None
        assert spec.masked()["notify"] == {"on": ["failed"]}

    @pytest.mark.parametrize("field", ["defaults.notify", "jobs[0].notify"])
    def test_and_nowhere_else(self, field: str) -> None:
        notify = {"notify": {"on": ["failed"]}}
        first = {"name": "x", "command": ["true"]}
        wrong: dict[str, Any] = (
            {"jobs": [first | notify]} if "jobs" in field else {"jobs": [first], "defaults": notify}
        )
        with pytest.raises(InvalidRequest, match="at the top of a group") as refused:
            expand(GroupSpec.model_validate(wrong))
        assert [each.field for each in refused.value.errors] == [field]
