"""Jobs through the real workflow, activities, database and Temporal server."""

from tests.integration.conftest import StageMaker

from cortex.domain.states import JobState


class TestJob:
    async def test_completes(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null={"type": "null"})
        async with stage.worker():
            job = await stage.ended(await stage.submit())
        assert job.state == JobState.COMPLETED
        assert job.exit_code == 0
