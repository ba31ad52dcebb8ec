"""A network that stops answering while jobs run there: told once, and once more when it is back."""

import time

from activities.trouble import tell
from cortex.db.engine import Database
from cortex.domain.states import LeaseState
from cortex.settings import MonitorSettings


class Outage:
    """The silence of one provider, as its monitor hears it."""

    def __init__(self, database: Database, provider_id: str, settings: MonitorSettings) -> None:
        self._database = database
        self._provider_id = provider_id
        self._patience = settings.tell_after.total_seconds()
        self._since: float | None = None
        self._told: set[str] = set()

    async def failed(self, why: str) -> None:
        """Another pass in vain: after a while the jobs that run there hear of it, each once."""
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since < self._patience:
            return
        for job_id in await self._jobs():
            if job_id not in self._told:
                self._told.add(job_id)
                await tell(
                    self._database,
                    job_id,
                    f"`{self._provider_id}` does not answer: {why}",
                    "as far as Cortex knows the job runs on there; Cortex keeps asking, and the "
                    "job's deadline holds",
                    self._provider_id,
                )

    async def over(self) -> None:
        """A pass went well."""
        self._since = None
        if not self._told:
            return
        told, self._told = self._told, set()
        for job_id in told & set(await self._jobs()):
            what = f"`{self._provider_id}` answers again"
            then = "Cortex watches the job as before"
            await tell(self._database, job_id, what, then, self._provider_id)

    async def _jobs(self) -> list[str]:
        async with self._database.transaction() as tx:
            leases = await tx.leases.watched(self._provider_id)
        return [lease.job_id for lease in leases if lease.state == LeaseState.ACTIVE]
