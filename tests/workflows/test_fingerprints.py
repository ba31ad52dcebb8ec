"""The baseline of command orders: it is whole, and an edit that would break runs in flight fails.

`test_replay.py` lets today's workflows take every recorded path; here, workflows that were edited
as somebody might edit them.
"""

import functools
import json
from pathlib import Path
from types import FunctionType

import pytest
from temporalio import workflow

from activities.contracts import PlaceResult
from cortex.domain.jobs import Outcome
from cortex.temporal.contracts import (
    HEALTH_WORKFLOW,
    JOB_WORKFLOW,
    HealthInput,
    HealthResult,
)
from tests.workflows import fingerprints
from tests.workflows.fingerprints import (
    HISTORIES,
    REGISTERED,
    BrokenPathError,
    assert_replays,
    baseline,
    changed_orders,
    new_paths,
    of_histories,
    patches,
    started_activities,
)
from workflows.health import ProviderHealthWorkflow
from workflows.job import JobWorkflow

COMMAND = "run `python -m tests.workflows.fingerprints`"


def an_edit(edited: type[JobWorkflow]) -> type[JobWorkflow]:
    """A workflow under the name of the one it was made from.

    Temporal insists that a class has `__init__` and `run` of its own: it gets copies.
    """
    for name in ("__init__", "run"):
        method = JobWorkflow.__dict__[name]
        own = FunctionType(method.__code__, method.__globals__, closure=method.__closure__)
        functools.update_wrapper(own, method)
        own.__module__, own.__qualname__ = edited.__module__, f"{edited.__qualname__}.{name}"
        setattr(edited, name, own)
    return workflow.defn(name=JOB_WORKFLOW)(edited)


@an_edit
class WaitsFirst(JobWorkflow):
    """Somebody adds a pause before the reservation."""

    async def _prepare(self, placement: PlaceResult) -> None:
        await workflow.sleep(1)
        await super()._prepare(placement)


@an_edit
class WaitsFirstIfPatched(JobWorkflow):
    """The same, as it is to be done."""

    async def _prepare(self, placement: PlaceResult) -> None:
        if workflow.patched("wait-first"):
            await workflow.sleep(1)
        await super()._prepare(placement)


@an_edit
class ClosesNothing(JobWorkflow):
    """Somebody drops the last step of a job without a lease."""

    async def _finish(self, outcome: Outcome) -> None:
        self._undoing = outcome.message


@workflow.defn(name=HEALTH_WORKFLOW)
class AsksTwice(ProviderHealthWorkflow):
    """Somebody asks a second time, after the first answer."""

    @workflow.run
    async def run(self, checked: HealthInput) -> HealthResult:
        await super().run(checked)
        return await super().run(checked)


class TestAnEdit:
    async def test_that_adds_a_command_fails_with_what_to_do(self) -> None:
        with pytest.raises(BrokenPathError) as failure:
            await assert_replays(HISTORIES / "completed.json", WaitsFirst)
        text = str(failure.value)
        assert "`Job` no longer takes the path `completed`" in text
        assert "  3 activity prepare\n" in text
        assert "workflow.patched" in text
        assert "python -m tests.workflows.record_histories" in text
        assert "python -m tests.workflows.fingerprints" in text

    @pytest.mark.parametrize("path", ["completed", "retried", "gang_committed"])
    async def test_that_adds_it_behind_a_patch_breaks_no_run(self, path: str) -> None:
        await assert_replays(HISTORIES / f"{path}.json", WaitsFirstIfPatched)

    async def test_that_drops_a_command_fails(self) -> None:
        with pytest.raises(BrokenPathError, match="path `no_capacity`"):
            await assert_replays(HISTORIES / "no_capacity.json", ClosesNothing)

    async def test_that_adds_one_at_the_end_fails(self) -> None:
        with pytest.raises(BrokenPathError, match="`ProviderHealth` no longer takes"):
            await assert_replays(HISTORIES / "upkeep" / "health.json", AsksTwice)


class TestBaseline:
    def test_it_has_every_recorded_path(self) -> None:
        assert not new_paths(baseline(), of_histories()), COMMAND

    def test_no_history_was_recorded_anew(self) -> None:
        """Else an edit that breaks runs in flight would pass with a history made to fit it."""
        changed = changed_orders(baseline(), of_histories())
        assert not changed, (
            f"{', '.join(changed)}: the history tells another order than the baseline, or is gone."
            " Take it back from git: runs have begun on that path. A new path gets its own name."
        )

    def test_it_has_every_workflow(self) -> None:
        assert set(baseline()) == set(REGISTERED)

    def test_it_has_every_activity_and_patch(self) -> None:
        known = {
            name for paths in baseline().values() for names in paths.values() for name in names
        }
        missing = (started_activities() | patches()) - known
        assert not missing, (
            f"no recorded path has {sorted(missing)}: add a scenario to"
            f" tests/workflows/record_histories.py, run it, and {COMMAND}"
        )

    def test_the_guards_see_what_the_code_does(self) -> None:
        assert {"local activity place", "activity place", "activity settle"} <= started_activities()
        assert "patch deadline-warning" in patches()


class TestUpdate:
    @pytest.fixture
    def known(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A baseline that lacks one path and has another order on a second."""
        orders = baseline()
        del orders["Job"]["failed"]
        orders["Job"]["completed"].insert(0, "timer")
        path = tmp_path / "fingerprints.json"
        path.write_text(json.dumps(orders))
        monkeypatch.setattr(fingerprints, "BASELINE", path)
        return path

    def test_it_refuses_to_change_an_order(
        self, known: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = known.read_text()
        assert fingerprints.update([]) == 1
        assert known.read_text() == before
        assert "not written: completed tell another order" in capsys.readouterr().err

    def test_it_adds_new_paths_and_changes_what_is_named(
        self, known: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fingerprints.update(["completed"]) == 0
        assert baseline() == of_histories()
        assert "1 new paths failed" in capsys.readouterr().out
