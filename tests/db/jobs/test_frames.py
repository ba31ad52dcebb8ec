"""The frames of a job over several leases: nothing finished is lost, nothing is counted twice."""

from datetime import timedelta
from decimal import Decimal

from cortex.db.engine import Database, Transaction
from cortex.db.jobs.repository import NewJob
from cortex.domain.ids import new_id
from cortex.domain.money import Money
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.domain.spec import JobSpec


async def new_job(tx: Transaction) -> str:
    job_id = new_id("job")
    spec = JobSpec.model_validate({"render": {"scene": "/a.blend", "frames": "1-4"}})
    job = NewJob(job_id, "tester", spec)
    await tx.acceptance.store([job], [spec.model_dump(mode="json")], delay=timedelta(0))
    return job_id


def frame(number: int, state: str, attempts: int = 1, cost: str | None = None) -> FrameStatus:
    return FrameStatus(
        frame=number,
        state=FrameState(state),
        attempts=attempts,
        cost=Money(amount=Decimal(cost), currency="USD") if cost else None,
        output=f"frames/{number}.png" if state == "done" else None,
    )


async def test_tells_what_has_changed_once(database: Database) -> None:
    async with database.transaction() as tx:
        job_id = await new_job(tx)
        said = [frame(1, "done", cost="0.1"), frame(2, "rendering")]
        changed = await tx.frames.record(job_id, "k-1", said)
        assert [frame.frame for frame in changed] == [1, 2]
        assert await tx.frames.record(job_id, "k-1", said) == []
        changed = await tx.frames.record(job_id, "k-1", [frame(1, "rendering"), frame(2, "done")])
        assert [(frame.frame, frame.state) for frame in changed] == [(2, "done")]
        assert await tx.frames.done(job_id) == {1, 2}


async def test_adds_up_over_leases_and_keeps_what_is_finished(database: Database) -> None:
    async with database.transaction() as tx:
        job_id = await new_job(tx)
        first = [frame(1, "done", cost="0.1"), frame(2, "failed", attempts=3, cost="0.3")]
        await tx.frames.record(job_id, "k-1", first)
        again = [frame(1, "queued", 0), frame(2, "done", attempts=2, cost="0.2")]
        await tx.frames.record(job_id, "k-2", again)
        await tx.frames.record(job_id, "k-2", again)
        one, two = await tx.frames.of_job(job_id)
        assert (one.state, one.attempts, one.cost) == (
            "done",
            1,
            Money(amount=Decimal("0.1"), currency="USD"),
        )
        assert (two.state, two.attempts) == ("done", 5)
        assert two.cost == Money(amount=Decimal("0.5"), currency="USD")
        assert await tx.frames.counts(job_id) == {FrameState.DONE: 2}


async def test_a_frame_without_its_file_is_rendered_anew(database: Database) -> None:
    async with database.transaction() as tx:
        job_id = await new_job(tx)
        said = [frame(1, "done"), frame(2, "done"), frame(3, "rendering"), frame(4, "failed")]
        await tx.frames.record(job_id, "k-1", said)
        await tx.outputs.merge(job_id, 1, [("frames/1.png", 1, "0" * 64)])
        assert await tx.frames.settle(job_id, "k-1") == 2
        states = [frame.state.value for frame in await tx.frames.of_job(job_id)]
        assert states == ["done", "queued", "queued", "failed"]
        assert await tx.frames.done(job_id) == {1}


async def test_outputs_of_attempts_are_merged(database: Database) -> None:
    async with database.transaction() as tx:
        job_id = await new_job(tx)
        await tx.outputs.merge(job_id, 1, [("a", 1, "0" * 64), ("b", 1, "0" * 64)])
        await tx.outputs.merge(job_id, 2, [("b", 2, "1" * 64), ("c", 2, "1" * 64)])
        await tx.outputs.merge(job_id, 3, [])
        outputs = [(output.path, output.attempt) for output in await tx.outputs.of_job(job_id)]
        assert outputs == [("a", 1), ("b", 2), ("c", 2)]
