"""Recorded histories still replay: a change of a workflow must not break jobs under way."""

from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from cortex.temporal.contracts import JOB_WORKFLOW, JobInput
from tests.workflows.record_histories import FOLDER, SCENARIOS
from worker import RUNNER
from workflows.group import JobGroupWorkflow
from workflows.job import JobWorkflow

HISTORIES = sorted(FOLDER.glob("*.json"))


def replayer(*workflows: type) -> Replayer:
    return Replayer(
        workflows=workflows, data_converter=pydantic_data_converter, workflow_runner=RUNNER
    )


def read(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


class TestReplay:
    @pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
    async def test_history_replays(self, path: Path) -> None:
        await replayer(JobWorkflow, JobGroupWorkflow).replay_workflow(read(path))

    def test_every_path_is_recorded(self) -> None:
        recorded = {path.stem for path in HISTORIES}
        assert recorded >= {scenario.__name__ for scenario in SCENARIOS}

    async def test_a_breaking_change_is_noticed(self) -> None:
        with pytest.raises(NondeterminismError):
            await replayer(ChangedJob).replay_workflow(read(FOLDER / "completed.json"))


@workflow.defn(name=JOB_WORKFLOW)
class ChangedJob:
    """Waits where the recorded job called an activity."""

    @workflow.run
    async def run(self, _order: JobInput) -> None:
        await workflow.sleep(1)
