"""Jobs, groups and holds against Temporal and the lease table: what nobody looks after."""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Final

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from cortex.db.engine import Database
from cortex.domain.jobs import Job
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind
from cortex.domain.reconcile import (
    Compared,
    Finding,
    FindingKind,
    forsaken,
    forsaken_groups,
    stale_holds,
    strayed_schedules,
    unserved,
)
from cortex.domain.states import JobState, LeaseState
from cortex.settings import JobSettings
from cortex.temporal.contracts import (
    GROUP_WORKFLOW,
    JOB_WORKFLOW,
    RESCUE_WORKFLOW,
    TASK_QUEUE,
    RescueInput,
    rescue_id,
)
from cortex.temporal.describe import fates
from cortex.temporal.firing import known

Mend = Callable[[Finding], Awaitable[str | None]]
"""Does something about a finding. Says how it is settled; None: not yet."""


class Books:
    """One look at all of them."""

    def __init__(self, database: Database, client: Client, settings: JobSettings) -> None:
        self._database = database
        self._client = client
        self._settings = settings
        self.checked = 0

    async def look(self) -> Compared:
        """Compare the database with Temporal, and the ledger with the lease table.

        Raises:
            TemporalUnavailable: it cannot be told which workflows live; nothing follows from that.
        """
        async with self._database.transaction() as tx:
            cases = await tx.survey.care()
            groups = await tx.survey.groups()
            holds = await tx.survey.holds()
            orphaned = await tx.survey.unserved()
            schedules = await tx.schedules.all_told()
            ids = await tx.schedules.ids()
        jobs = await fates(self._client, JOB_WORKFLOW, [case.job_id for case in cases])
        gone = await fates(self._client, GROUP_WORKFLOW, list(groups))
        fired = await known(self._client)
        told = {each.id: each.told_revision >= each.revision for each in schedules}
        self.checked = len(cases) + len(groups) + len(holds) + len(ids)
        return Compared(
            issues=[
                *forsaken(cases, jobs),
                *forsaken_groups(groups, gone),
                *stale_holds(holds),
                *strayed_schedules(told, fired, ids),
                *(unserved(provider_id, keys) for provider_id, keys in orphaned.items()),
            ]
        )

    @property
    def mends(self) -> Mapping[FindingKind, Mend]:
        """What is done about each kind; of one that is not here it is only told."""
        return {
            FindingKind.GONE_WORKFLOW: self._rescue,
            FindingKind.LOST_START: self._start_again,
            FindingKind.GONE_GROUP: self._start_group,
            FindingKind.STALE_HOLD: self._release_hold,
            FindingKind.SCHEDULE: self._tell_schedule,
        }

    async def _rescue(self, finding: Finding) -> None:
        """Its end is written by the workflow, which may take as long as the network does."""
        await self._client.start_workflow(
            RESCUE_WORKFLOW,
            RescueInput(job_id=finding.subject, heartbeat_timeout=self._settings.heartbeat_timeout),
            id=rescue_id(finding.subject),
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"finishes {finding.subject}, whose workflow is gone",
        )

    async def _start_again(self, finding: Finding) -> str | None:
        async with self._database.transaction() as tx:
            await tx.jobs.lock(finding.subject)
            if not await tx.survey.care(finding.subject):
                return "it is on its way by now"
            job = await tx.jobs.get(finding.subject)
            if job.state is not JobState.PENDING:
                return f"it is {job.state.value} by now"
            payload = await tx.survey.start_payload(job.id)
            if payload is not None or not _of_group(job):
                await tx.commands.add(job.id, "start", payload)
                return "its start was ordered once more"
        # How its group starts it is not known any more: it must not run on its own.
        await self._rescue(finding)
        return None

    async def _start_group(self, finding: Finding) -> str:
        async with self._database.transaction() as tx:
            if finding.subject in await tx.survey.groups():
                await tx.commands.add_for_group(finding.subject, "start_group")
        return "its workflow was ordered once more"

    async def _tell_schedule(self, finding: Finding) -> str:
        async with self._database.transaction() as tx:
            await tx.schedules.tell_anew(finding.subject)
            await tx.commands.add_for_schedule(finding.subject)
        return "Temporal is told once more"

    async def _release_hold(self, finding: Finding) -> str:
        async with self._database.transaction() as tx:
            lease = await tx.leases.get(finding.subject)
            await tx.jobs.lock(lease.job_id)
            lease = await tx.leases.get(finding.subject)
            if lease.state is not LeaseState.RELEASED:
                return "a lease stands for it"
            held = await tx.ledger.held(lease)
            booked = lease.cost
            spent = booked.amount if booked and booked.currency == held.currency else Decimal(0)
            rest = Money(amount=max(held.amount - spent, Decimal(0)), currency=held.currency)
            await tx.ledger.add(lease, EntryKind.RELEASE, rest, note=_NOTE)
        return f"{rest} are free again"


def _of_group(job: Job) -> bool:
    return job.group_id is not None


_NOTE: Final = "the lease is released; closed by reconcile"
