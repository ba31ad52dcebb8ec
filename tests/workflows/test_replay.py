"""Recorded histories still replay: a change of a workflow must not break jobs under way."""

from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.workflow import NondeterminismError

from cortex.temporal.contracts import JOB_WORKFLOW, JobInput
from tests.workflows.fingerprints import assert_replays, path_name, read, recorded, replayer
from tests.workflows.record_histories import FOLDER, SCENARIOS
from tests.workflows.record_upkeep import SCENARIOS as UPKEEP


class TestReplay:
    @pytest.mark.parametrize("path", recorded(), ids=path_name)
    async def test_history_replays(self, path: Path) -> None:
        await assert_replays(path)

    def test_every_path_is_recorded(self) -> None:
        names = {path_name(path) for path in recorded()}
        assert names >= {scenario.__name__ for scenario in SCENARIOS}
        assert names >= {f"upkeep/{scenario.__name__}" for scenario in UPKEEP}

    async def test_a_breaking_change_is_noticed(self) -> None:
        with pytest.raises(NondeterminismError):
            await replayer(ChangedJob).replay_workflow(read(FOLDER / "completed.json"))


@workflow.defn(name=JOB_WORKFLOW)
class ChangedJob:
    """Waits where the recorded job called an activity."""

    @workflow.run
    async def run(self, _given: JobInput) -> None:
        await workflow.sleep(1)
