"""Finishing a job whose own workflow is gone: what is left to be done, read from the database."""

from pydantic import BaseModel, ConfigDict
from temporalio.client import Client

from activities.contracts import LeaseInput
from activities.runtime.errors import relentless
from cortex.db.engine import Database
from cortex.domain.jobs import Outcome
from cortex.domain.reconcile.rescue import rescue_outcome
from cortex.domain.states import LeaseState
from cortex.temporal.contracts import RescueInput
from cortex.temporal.describe import fate


class RescuePlan(BaseModel):
    """What is left to be done for a job. Stored in histories: add fields with defaults only."""

    model_config = ConfigDict(frozen=True)

    why_not: str = ""
    """Why nothing is to be done; everything else is empty then."""
    leases: tuple[LeaseInput, ...] = ()
    """Those that are not released, the newest one last."""
    outcome: Outcome | None = None
    """How the job ends; None: it has ended."""


class RescueActivities:
    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @relentless
    async def plan_rescue(self, abandoned: RescueInput) -> RescuePlan:
        """Make sure that nobody looks after the job, and say what is to be done."""
        # Asked first: whoever is started after this is seen in the database.
        ended = await fate(self._client, abandoned.job_id)
        if ended.status == "running":
            return RescuePlan(why_not="its workflow is running: it looks after the job itself")
        async with self._database.transaction() as tx:
            if not await tx.survey.care(abandoned.job_id):
                return RescuePlan(why_not="it has ended, or a start or cancel is on its way")
            job = await tx.jobs.get(abandoned.job_id)
            leases = [
                lease
                for lease in await tx.leases.of_job(abandoned.job_id)
                if lease.state is not LeaseState.RELEASED
            ]
        return RescuePlan(
            leases=tuple(
                LeaseInput(job_id=job.id, lease_key=lease.key, provider_id=lease.provider_id)
                for lease in leases
            ),
            outcome=None if job.state.terminal else rescue_outcome(job, leases, ended.how),
        )
