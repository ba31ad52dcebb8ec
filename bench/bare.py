"""The bare workflow that jobs are compared with; a module of its own, for the sandbox."""

from datetime import timedelta

from temporalio import activity, workflow


@activity.defn
async def nothing(number: int) -> int:
    return number


@workflow.defn
class BareWorkflow:
    """As many activities as a job, in sequence."""

    @workflow.run
    async def run(self, count: int) -> None:
        for number in range(count):
            await workflow.execute_activity(
                nothing, number, start_to_close_timeout=timedelta(seconds=30)
            )
