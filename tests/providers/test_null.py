"""The provider that runs nothing keeps the contract and costs next to nothing."""

import asyncio
import time
from datetime import timedelta

import pytest

from cortex.domain.ids import lease_key, new_id
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.errors import LeaseLost
from providers.null import NullConfig, NullProvider
from providers.registry import make_provider
from tests.support import patience, soon

SPEC = JobSpec(command=("true",))


def _key() -> str:
    return lease_key(new_id("job"), 1)


def _provider(**config: float) -> NullProvider:
    return NullProvider("null", NullConfig.model_validate(config))


class TestLifecycle:
    async def test_ends_at_once_by_default(self) -> None:
        provider = _provider(exit_code=3)
        key = _key()
        reservation = await provider.prepare(SPEC, key)
        lease = await provider.find(key)
        assert lease is not None
        assert not lease.committed
        assert (await provider.status(reservation.ref)).state is RunState.STARTING
        ref = (await provider.commit(reservation)).ref
        status = await provider.status(ref)
        assert (status.state, status.exit_code) == (RunState.EXITED, 3)
        assert (await provider.usage(ref)).final

    async def test_commit_twice_is_one_run(self) -> None:
        provider = _provider(run_seconds=-1)
        reservation = await provider.prepare(SPEC, _key())
        first, second = await asyncio.gather(
            provider.commit(reservation), provider.commit(reservation)
        )
        assert first.ref == second.ref
        assert len(await provider.owned()) == 1

    async def test_another_process_knows_the_state_from_the_ref(self) -> None:
        ref = (await _provider(run_seconds=60).submit(SPEC, _key())).ref
        status = await _provider().status(ref)
        assert status.state is RunState.RUNNING
        assert not (await _provider().usage(ref)).final

    async def test_cancel_ends_it_and_fences_a_late_commit(self) -> None:
        provider = _provider(run_seconds=-1)
        reservation = await provider.prepare(SPEC, _key())
        await provider.cancel(reservation.ref)
        with pytest.raises(LeaseLost):
            await provider.commit(reservation)
        ref = (await provider.submit(SPEC, _key())).ref
        await provider.cancel(ref)
        await provider.cancel(ref)
        assert (await provider.status(ref)).exit_code == 143
        usage = await provider.usage(ref)
        assert usage.final
        assert usage == await provider.usage(ref)

    async def test_forget_leaves_nothing(self) -> None:
        provider = _provider()
        ref = (await provider.submit(SPEC, _key())).ref
        await provider.forget(ref)
        assert await provider.owned() == []
        assert await provider.find(ref.key) is None
        assert (await provider.status(ref)).state is RunState.LOST
        with pytest.raises(LeaseLost):
            await provider.usage(ref)


class TestWaiting:
    async def test_returns_at_the_end_of_a_run(self) -> None:
        provider = _provider(run_seconds=0.2)
        ref = (await provider.submit(SPEC, _key())).ref
        with soon(1):
            while not (await provider.status(ref)).state.final:
                await provider.wait_for_change(timedelta(seconds=60))

    async def test_waits_for_the_timeout_when_nothing_happens(self) -> None:
        began = time.monotonic()
        await _provider().wait_for_change(timedelta(seconds=0.1))
        assert time.monotonic() - began >= 0.09

    async def test_a_run_that_ends_at_once_is_no_change_to_wait_for(self) -> None:
        provider = _provider(run_seconds=0)
        ref = (await provider.submit(SPEC, _key())).ref
        await provider.cancel(ref)
        began = time.monotonic()
        await provider.wait_for_change(timedelta(seconds=0.1))
        assert time.monotonic() - began >= 0.09

    async def test_a_cancelled_run_is_one(self) -> None:
        provider = _provider(run_seconds=-1)
        ref = (await provider.submit(SPEC, _key())).ref
        await provider.wait_for_change(timedelta(0))
        await provider.cancel(ref)
        with soon(1):
            await provider.wait_for_change(timedelta(seconds=60))

    async def test_follow_ends_with_a_cancel(self) -> None:
        provider = _provider(run_seconds=-1)
        ref = (await provider.submit(SPEC, _key())).ref

        async def follow() -> int:
            return len([line async for line in provider.logs(ref, follow=True)])

        task = asyncio.create_task(follow())
        await asyncio.sleep(0)
        assert not task.done()
        await provider.cancel(ref)
        assert await asyncio.wait_for(task, patience(5)) == 0


async def test_two_thousand_leases_are_cheap() -> None:
    provider = make_provider("bench", "null", {"run_seconds": -1})
    refs = [(await provider.submit(SPEC, _key())).ref for _ in range(2000)]
    began = time.process_time()
    snapshots = await provider.statuses(refs)
    assert time.process_time() - began < 1
    assert {snapshot.state for snapshot in snapshots} == {RunState.RUNNING}
