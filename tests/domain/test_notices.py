"""Which events are notices, for whom, and what counts as the same."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cortex.domain.events import EventType
from cortex.domain.notices import NoticeEvent, Occurrence, Preferences, wants
from cortex.domain.spec.notify import Notify

ALL = tuple(NoticeEvent)


def happened(
    data: dict[str, Any] | None = None,
    type: EventType = EventType.JOB_STATE_CHANGED,
    **more: Any,
) -> Occurrence:
    wanted: dict[str, Any] = {
        "id": "evt_1",
        "type": type,
        "subject": "job_1",
        "time": datetime.now(UTC),
        "data": data or {"state": "failed"},
        "owner": "ann",
        "project": "team",
        "name": "train",
    }
    return Occurrence(**(wanted | more))


@pytest.mark.parametrize(
    ("type", "data", "kind"),
    [
        (EventType.JOB_STATE_CHANGED, {"state": "running"}, "started"),
        (EventType.JOB_STATE_CHANGED, {"state": "completed"}, "completed"),
        (EventType.JOB_STATE_CHANGED, {"state": "failed", "reason": "lost"}, "failed"),
        (EventType.JOB_STATE_CHANGED, {"state": "failed", "reason": "over_budget"}, "over_budget"),
        (EventType.JOB_STATE_CHANGED, {"state": "cancelled"}, "cancelled"),
        (EventType.JOB_STATE_CHANGED, {"state": "placing"}, None),
        (EventType.JOB_TROUBLE, {"message": "slow"}, None),
        (EventType.JOB_TROUBLE, {"message": "slow", "stuck_since": "2026"}, "stuck"),
        (EventType.JOB_RETRYING, {}, "retried"),
        (EventType.JOB_DEADLINE_NEAR, {}, "deadline"),
        (EventType.SCHEDULE_PAUSED, {}, "schedule_paused"),
        (EventType.JOB_PROGRESS, {"state": "failed"}, None),
    ],
)
def test_what_an_event_is_to_people(
    type: EventType, data: dict[str, Any], kind: str | None
) -> None:
    assert happened(data or {"x": 1}, type).kind == kind


class TestWants:
    def test_own(self) -> None:
        assert wants("ann", Preferences(), happened(), ())
        assert not wants("ann", Preferences(), happened({"state": "completed"}), ())
        assert not wants("ann", Preferences(own=()), happened(), ())
        assert not wants("bob", Preferences(own=ALL), happened(), {"team"})

    def test_over_budget_is_a_failure_too(self) -> None:
        over = happened({"state": "failed", "reason": "over_budget"})
        for kind in (NoticeEvent.FAILED, NoticeEvent.OVER_BUDGET):
            assert wants("ann", Preferences(own=(kind,)), over, ())
        assert not wants("ann", Preferences(own=(NoticeEvent.OVER_BUDGET,)), happened(), ())

    def test_of_ones_projects(self) -> None:
        chosen = Preferences(projects=(NoticeEvent.FAILED,))
        assert wants("bob", chosen, happened(), {"team"})
        assert not wants("bob", chosen, happened(), {"other"})
        assert not wants("bob", chosen, happened({"state": "completed"}), {"team"})

    def test_named_by_a_job(self) -> None:
        for_bob = happened(
            {"state": "completed"}, notify=Notify.model_validate({"to": ["me", "bob"]})
        )
        assert wants("ann", Preferences(own=()), for_bob, ())
        assert wants("bob", Preferences(own=()), for_bob, {"team"})
        assert not wants("bob", Preferences(own=ALL, projects=ALL), for_bob, {"other"})
        assert not wants("bob", Preferences(named=False), for_bob, {"team"})
        assert not wants("eve", Preferences(own=ALL), for_bob, ())
        started = happened({"state": "running"}, notify=for_bob.notify)
        assert not wants("bob", Preferences(), started, {"team"})

    def test_nothing_once_all_is_off(self) -> None:
        named = happened(notify=Notify.model_validate({"to": ["me", "bob"]}))
        off = Preferences(enabled=False, own=ALL, projects=ALL)
        assert not wants("ann", off, named, ())
        assert not wants("bob", off, named, {"team"})


class TestOnce:
    def test_of_a_group_the_end_is_told_and_not_that_of_its_jobs(self) -> None:
        for data in ({"state": "failed"}, {"state": "completed"}, {"state": "cancelled"}):
            assert not happened(data, group_id="grp_1").is_told
            assert happened(
                data, EventType.GROUP_STATE_CHANGED, subject="grp_1", group_id="grp_1"
            ).is_told

    def test_of_its_jobs_the_first_of_a_kind(self) -> None:
        one, other = (
            happened(
                {"stuck_since": "2026", "message": ""},
                EventType.JOB_TROUBLE,
                subject=subject,
                id=subject,
                group_id="grp_1",
                group_name="sweep",
            )
            for subject in ("job_1", "job_2")
        )
        assert one.is_told
        assert one.key == other.key
        assert one.title == "a job of group sweep is stuck: train"
        assert one.key != happened({"state": "running"}, group_id="grp_1").key

    def test_a_group_starts_with_the_first_of_its_jobs(self) -> None:
        running = {"state": "running"}
        whole = happened(running, EventType.GROUP_STATE_CHANGED, subject="grp_1", group_id="grp_1")
        assert happened(running, group_id="grp_1", subject="job_1").key == whole.key

    def test_stuck_anew_is_another_thing(self) -> None:
        first, again, later = (
            happened({"stuck_since": since}, EventType.JOB_TROUBLE, id=str(number))
            for number, since in enumerate(("10:00", "10:00", "12:00"))
        )
        assert first.key == again.key != later.key
