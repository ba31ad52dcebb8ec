"""Groups on a stage: submitted as the API does it, watched to their end, their books checked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from cortex.db.groups.accept import NewGroup, NewMember
from cortex.db.jobs.repository import NewJob
from cortex.domain.groups.expand import GroupSpec, expand
from cortex.domain.ids import new_id
from cortex.domain.jobs import Job
from cortex.domain.money.ledger import EntryKind
from cortex.domain.states import JOB_TRANSITIONS, JobState, LeaseState
from cortex.services.groups.control import GroupControl
from tests.integration.conftest import Stage
from tests.support import eventually
from tests.support.rows import job_states, open_holds

NOBODY: dict[str, Any] = {"placement": {"max_price": "0.000001 USD", "timeout": "10m"}}
"""Fields of a job that no provider takes, and that waits for one all the same."""


@dataclass
class Group:
    """One group, seen through the database."""

    stage: Stage
    id: str
    members: dict[str, str]
    """Job ids by member name."""

    async def state(self) -> str:
        return str((await self._row()).state)

    async def message(self) -> str:
        return str((await self._row()).message)

    async def decisions(self) -> list[str | None]:
        """What each gang has decided, in the order of the gangs."""
        query = "SELECT decision FROM job_gangs WHERE group_id = :id ORDER BY gang"
        async with self.stage.database.reading() as tx:
            return list((await tx.connection.execute(text(query), {"id": self.id})).scalars())

    async def jobs(self) -> dict[str, Job]:
        async with self.stage.database.reading() as tx:
            jobs = await tx.jobs.get_many(list(self.members.values()))
        return dict(zip(self.members, jobs, strict=True))

    async def job(self, member: str) -> Job:
        return await self.stage.job(self.members[member])

    async def states(self) -> dict[str, JobState]:
        return {name: job.state for name, job in (await self.jobs()).items()}

    async def until(self, member: str, *states: JobState, within: float = 30) -> None:
        """Wait until a member is in one of the states."""

        async def there() -> bool:
            return (await self.job(member)).state in states

        await eventually(there, within=within, what=f"{member} {' or '.join(states)}")

    async def reserved(self, *members: str) -> None:
        """Wait until the leases of these members are reserved."""
        ids = {self.members[name] for name in members}

        async def there() -> bool:
            async with self.stage.database.reading() as tx:
                states = [lease.state for job_id in ids for lease in await tx.leases.of_job(job_id)]
            return states.count(LeaseState.RESERVED) == len(ids)

        await eventually(there, within=30, what=f"{', '.join(members)} reserved")

    async def cancel(self, reason: str = "enough") -> None:
        await GroupControl(self.stage.database).cancel(self.id, reason)

    async def ended(self, within: float = 60) -> str:
        """The group's state at its end. Its books and histories are checked."""

        async def over() -> bool:
            return (await self._row()).finished_at is not None

        try:
            await eventually(over, within=within, what=f"the end of {self.id}")
        except AssertionError as error:
            states = Counter((job.state, job.message) for job in (await self.jobs()).values())
            said = f"it is {await self.state()}: {await self.message()}"
            raise AssertionError(f"{error}; {said}; {states.most_common(8)}") from None
        await self._check()
        return await self.state()

    async def committed(self) -> Counter[str]:
        """How many leases of each member were ever live."""
        commits: Counter[str] = Counter()
        async with self.stage.database.reading() as tx:
            for name, job_id in self.members.items():
                leases = await tx.leases.of_job(job_id)
                commits[name] = sum(lease.committed_at is not None for lease in leases)
        return commits

    async def _check(self) -> None:
        """One charge for each lease that was live, no hold open, every history legal."""
        async with self.stage.database.reading() as tx:
            for job in (await self.jobs()).values():
                assert job.state.terminal, job
                history = await job_states(tx, job.id)
                steps = zip(history, history[1:], strict=False)
                assert all(after in JOB_TRANSITIONS[before] for before, after in steps), history
                entries = await tx.ledger.page(job_id=job.id)
                for lease in await tx.leases.of_job(job.id):
                    kinds = [entry.kind for entry in entries if entry.lease_key == lease.key]
                    assert lease.state == LeaseState.RELEASED
                    assert kinds.count(EntryKind.CHARGE) == (1 if lease.committed_at else 0)
                    assert kinds.count(EntryKind.RELEASE) == 1
            assert not await open_holds(tx)

    async def _row(self) -> Any:
        query = "SELECT state, message, finished_at FROM job_groups WHERE id = :id"
        async with self.stage.database.reading() as tx:
            return (await tx.connection.execute(text(query), {"id": self.id})).one()


def job(name: str, **fields: Any) -> dict[str, Any]:
    """One entry of `jobs` in a group spec."""
    return {"name": name, "command": ["true"], **fields}


async def submit(stage: Stage, jobs: Iterable[dict[str, Any]], **fields: Any) -> Group:
    """Accept a group, whether or not any provider can run it."""
    spec = GroupSpec.model_validate({"name": "trio", "jobs": list(jobs), **fields})
    members = expand(spec)
    group_id = new_id("grp")
    made = sorted(new_id("job") for _ in members)
    ids = {member.name: job_id for member, job_id in zip(members, made, strict=True)}
    new = [
        NewMember(NewJob(ids[member.name], "tester", member.job(group_id, ids)), member)
        for member in members
    ]
    needs = [(ids[member.name], ids[name]) for member in members for name in member.needs]
    async with stage.database.transaction() as tx:
        await tx.group_acceptance.store(
            NewGroup(group_id, "tester", spec, new, needs),
            [submission.job.spec.model_dump(mode="json") for submission in new],
        )
    return Group(stage, group_id, ids)
