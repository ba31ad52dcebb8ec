"""What a plan writes, on a real database: guarded, legal, and once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from activities.contracts import AdvanceInput, AdvanceResult, VerdictInput
from activities.groups import GroupActivities
from cortex.db.engine import Database
from cortex.db.groups.accept import NewGroup, NewMember
from cortex.db.jobs.repository import NewJob
from cortex.domain.groups.expand import GroupSpec, expand
from cortex.domain.ids import new_id
from cortex.domain.jobs import Reason
from cortex.domain.leases import LeaseRef
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.states import JOB_TRANSITIONS, JobState, LeaseState
from tests.support.rows import job_states, set_lease


class Scene:
    """One group in the database; its members are moved by hand, as their workflows would."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.steps = GroupActivities(database)
        self.id = new_id("grp")
        self.ids: dict[str, str] = {}

    async def submit(self, *jobs: dict[str, Any], **fields: Any) -> None:
        spec = GroupSpec.model_validate({"jobs": list(jobs), **fields})
        members = expand(spec)
        made = sorted(new_id("job") for _ in members)
        self.ids = {member.name: job_id for member, job_id in zip(members, made, strict=True)}
        new = [
            NewMember(
                NewJob(self.ids[member.name], "tester", member.job(self.id, self.ids)), member
            )
            for member in members
        ]
        needs = [
            (self.ids[member.name], self.ids[name]) for member in members for name in member.needs
        ]
        async with self.database.transaction() as tx:
            await tx.group_acceptance.store(
                NewGroup(self.id, "tester", spec, new, needs),
                [submission.job.spec.model_dump(mode="json") for submission in new],
            )

    async def advance(self, cancel: str = "") -> AdvanceResult:
        return await self.steps.advance(AdvanceInput(group_id=self.id, cancel=cancel))

    async def verdict(self, name: str) -> str:
        question = VerdictInput(job_id=self.ids[name], lease_key=f"{self.ids[name]}-1")
        return (await self.steps.verdict(question)).answer

    async def reserve(self, name: str) -> None:
        """Place and prepare a member."""
        job_id = self.ids[name]
        offer = Offer(provider_id="p", price_per_hour=Money.model_validate("1 USD"))
        key = f"{job_id}-1"
        async with self.database.transaction() as tx:
            await tx.jobs.begin_attempt(job_id, 1)
            await tx.leases.add(key, job_id, 1, offer=offer)
            await tx.jobs.move(job_id, JobState.DEPLOYING)
            ref = LeaseRef(key=key, network_id=key).model_dump(mode="json")
            await tx.leases.move(key, LeaseState.RESERVED)
            await set_lease(tx, key, ref=ref)

    async def rows(self, statement: str) -> list[Any]:
        async with self.database.reading() as tx:
            return list((await tx.connection.execute(text(statement))).all())

    async def decision(self) -> str | None:
        decision: str | None = (await self.rows("SELECT decision FROM job_gangs"))[0].decision
        return decision

    async def backdate(self, by: timedelta) -> None:
        """Let time go by."""
        async with self.database.transaction() as tx:
            await tx.connection.execute(
                text(
                    "UPDATE job_gangs SET started_at = started_at - CAST(:by AS interval), "
                    "deadline_at = deadline_at - CAST(:by AS interval)"
                ),
                {"by": by},
            )

    async def history(self, name: str) -> list[JobState]:
        async with self.database.reading() as tx:
            return await job_states(tx, self.ids[name])


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def job(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": ["true"], **fields}


class TestAdvance:
    async def test_start_lets_go_of_a_gang_once(self, scene: Scene) -> None:
        await scene.submit(job("a"), job("b"), job("c", after=["a"]), on_lost="end_all")
        await scene.advance()
        await scene.advance()
        commands = await scene.rows("SELECT job_id, payload FROM commands WHERE kind = 'start'")
        assert {row.job_id for row in commands} == {scene.ids["a"], scene.ids["b"]}
        assert len(commands) == 2
        assert commands[0].payload == {
            "group_id": scene.id,
            "gang": True,
            "commit_failure": "end",
            "retries_on_lost": 0,
        }

    async def test_decides_once_all_are_reserved_and_calls_them(self, scene: Scene) -> None:
        await scene.submit(job("a"), job("b"))
        await scene.advance()
        await scene.reserve("a")
        await scene.advance()
        assert await scene.decision() is None
        assert await scene.verdict("a") == "wait"
        await scene.reserve("b")
        await scene.advance()
        assert await scene.decision() == "committed"
        assert await scene.verdict("a") == await scene.verdict("b") == "commit"
        called = await scene.rows("SELECT job_id FROM commands WHERE kind = 'nudge'")
        assert {row.job_id for row in called} == set(scene.ids.values())

    async def test_two_coordinators_at_once_do_it_once(self, scene: Scene) -> None:
        await scene.submit(job("a"), job("b"))
        await asyncio.gather(*(scene.advance() for _ in range(4)))
        await scene.reserve("a")
        await scene.reserve("b")
        await asyncio.gather(*(scene.advance() for _ in range(4)))
        kinds = [row.kind for row in await scene.rows("SELECT kind FROM commands ORDER BY id")]
        assert kinds == ["start_group", "start", "start", "nudge", "nudge"]
        told = await scene.rows("SELECT 1 FROM events WHERE type = 'group.gang.decided'")
        assert len(told) == 1

    async def test_a_cancel_between_reservation_and_decision_aborts(self, scene: Scene) -> None:
        await scene.submit(job("a"), job("b"))
        await scene.advance()
        await scene.reserve("a")
        await scene.reserve("b")
        async with scene.database.transaction() as tx:
            await tx.jobs.move(scene.ids["b"], JobState.CANCELLING)
        await scene.advance()
        assert await scene.decision() == "aborted"
        (cancel,) = await scene.rows("SELECT job_id, payload FROM commands WHERE kind = 'cancel'")
        assert cancel.job_id == scene.ids["a"]
        assert cancel.payload["cause"] == Reason.GROUP_ABORTED

    async def test_members_that_were_never_started_end_legally(self, scene: Scene) -> None:
        await scene.submit(job("a", count=150), job("b", after=["a"]))
        result = await scene.advance(cancel="enough")
        assert (result.state, result.done) == ("cancelled", True)
        for name in ("a[0]", "a[149]", "b"):
            history = await scene.history(name)
            steps = zip(history, history[1:], strict=False)
            assert all(after in JOB_TRANSITIONS[before] for before, after in steps)
            assert history[-1] == JobState.CANCELLED
        events = await scene.rows(
            "SELECT data->>'state' AS state FROM events WHERE type = 'job.state.changed' "
            f"AND job_id = '{scene.ids['b']}' ORDER BY seq"
        )
        assert [row.state for row in events] == ["cancelling", "settling", "cancelled"]
        assert not await scene.rows("SELECT 1 FROM commands WHERE kind IN ('start', 'cancel')")

    async def test_a_group_that_is_not_there_is_done(self, scene: Scene) -> None:
        assert (await scene.advance()).done

    async def test_a_thousand_members_are_cheap(self, scene: Scene) -> None:
        await scene.submit(job("a", count=1000), policy="best_effort", concurrency=10)
        await scene.advance()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await scene.advance()
        assert loop.time() - begin < 5  # some 40 ms when nothing else runs
        assert len(await scene.rows("SELECT 1 FROM commands WHERE kind = 'start'")) == 10


class TestPresumedAbort:
    async def test_comes_after_the_deadline_and_some_grace(self, scene: Scene) -> None:
        await scene.submit(job("a"), job("b"), prepare_timeout="100s")
        await scene.advance()
        await scene.reserve("a")
        await scene.backdate(timedelta(seconds=105))  # a tenth of 100 s is given on top
        assert await scene.verdict("a") == "wait"
        assert await scene.decision() is None
        await scene.backdate(timedelta(seconds=6))
        assert await scene.verdict("a") == "abort"
        assert await scene.decision() == "aborted"
        calls = await scene.rows("SELECT 1 FROM commands WHERE kind = 'nudge' AND group_id <> ''")
        assert len(calls) == 1

    async def test_does_not_change_a_decision(self, scene: Scene) -> None:
        await scene.submit(job("a"), prepare_timeout="100s")
        await scene.advance()
        await scene.reserve("a")
        await scene.advance()
        await scene.backdate(timedelta(hours=1))
        assert await scene.verdict("a") == "commit"

    async def test_against_the_coordinator_there_is_one_winner(self, scene: Scene) -> None:
        await scene.submit(job("a"), job("b"), prepare_timeout="10s")
        await scene.advance()
        await scene.reserve("a")
        await scene.reserve("b")
        await scene.backdate(timedelta(minutes=1))
        answers = await asyncio.gather(
            scene.verdict("a"), scene.advance(), scene.verdict("b"), scene.advance()
        )
        decision = await scene.decision()
        assert decision in ("committed", "aborted")
        after = {await scene.verdict("a"), await scene.verdict("b")}
        assert after == {"commit" if decision == "committed" else "abort"}
        said = {answer for answer in answers if isinstance(answer, str)}
        assert said <= after

    async def test_a_member_of_no_gang_is_not_committed(self, scene: Scene) -> None:
        await scene.submit(job("a"))
        question = VerdictInput(job_id="job_none", lease_key="job_none-1")
        assert (await scene.steps.verdict(question)).answer == "abort"
