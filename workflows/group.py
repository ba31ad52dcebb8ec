"""The life of a group: look, do what is to be done, wait to be called or for the time to come.

All knowledge is in the database and all decisions are the planner's (`cortex.domain.groups.plan`).
The workflow makes them durable: it may be terminated at any point, and a new one goes on.
"""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contracts import AdvanceInput, AdvanceResult
    from activities.groups import GroupActivities
    from cortex.temporal import contracts
    from cortex.temporal.contracts import GroupInput, GroupResult
    from workflows.steps import QUICK
    from workflows.stopping import Stoppable


@workflow.defn(name=contracts.GROUP_WORKFLOW)
class JobGroupWorkflow(Stoppable):
    @workflow.init
    def __init__(self, group: GroupInput) -> None:
        super().__init__()
        self._group = group
        self._state = ""
        self._called = False
        self._told = False

    @workflow.run
    async def run(self, group: GroupInput) -> GroupResult:
        """Runs until the group is terminal in the database."""
        while True:
            self._called = False
            result = await self._advance()
            self._show(result.state)
            if result.done:
                return GroupResult(state=result.state, message=result.message)
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(group)
            if result.pause:
                await self._until(self._asked_to_stop, result.pause)
            await self._until(lambda: self._called or self._asked_to_stop(), result.wait)

    @workflow.signal(name=contracts.SIGNAL_LOOK)
    def look(self) -> None:
        """Something has changed in the database."""
        self._called = True

    @workflow.query
    def state(self) -> str:
        """The group's state."""
        return self._state

    async def _advance(self) -> AdvanceResult:
        # A cancellation in the Web UI is a request like any other: it ends the members too.
        asked = AdvanceInput(
            group_id=self._group.group_id, cancel=self._stop or "" if self._stopped() else ""
        )
        self._told = self._stopped()
        return await self._through(
            lambda: workflow.start_activity_method(
                GroupActivities.advance,
                asked,
                start_to_close_timeout=timedelta(minutes=2),
                heartbeat_timeout=self._group.heartbeat_timeout,
                retry_policy=QUICK,
                summary="do what is to be done",
            )
        )

    def _asked_to_stop(self) -> bool:
        return self._stopped() and not self._told

    def _show(self, state: str) -> None:
        if state == self._state:
            return
        self._state = state
        workflow.set_current_details(state)
        workflow.upsert_search_attributes([contracts.STATUS.value_set(state)])
