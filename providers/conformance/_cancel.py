"""Ending a run: always possible, complete, and safe to repeat."""

import asyncio

import pytest

from cortex.domain.states import RunState
from providers.conformance._harness import AnyProvider, Harness
from providers.errors import LeaseLost

_STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
_FORKING = """
for i in 1 2 3; do
    (trap '' TERM HUP; while :; do echo tick; sleep 0.1; done) &
done
command -v setsid >/dev/null && setsid sh -c 'while :; do echo tick; sleep 0.1; done' &
(sh -c 'while :; do echo tick; sleep 0.1; done' &) &
echo ready
wait
sleep 600
"""


class CancelChecks(Harness):
    async def test_cancel_ends_a_running_job(self, provider: AnyProvider) -> None:
        ref = await self.running(provider, "echo ready; exec sleep 600")
        await asyncio.wait_for(provider.cancel(ref), self.patience)
        status = await provider.status(ref)
        assert status.state.final
        assert status.exit_code != 0

    async def test_a_job_may_clean_up(self, provider: AnyProvider) -> None:
        script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
        if not self.stops:
            pytest.skip("this network ends a command without asking it")
        ref = await self.running(provider, script)
        if provider.capabilities().keeps_results:
            await asyncio.wait_for(provider.cancel(ref), self.patience)
        else:  # what it says at its end is read before the lease goes
            await asyncio.wait_for(provider.stop(ref), self.patience)
            assert (await self.ended(provider, ref)).state.final
        status = await provider.status(ref)
        if status.state is not RunState.LOST:
            assert status.exit_code == 4
        if self.last_words:
            lines = [line.text for line in await self.lines(provider, ref)]
            assert "bye" in lines

    async def test_cancel_ends_a_job_that_ignores_sigterm(self, provider: AnyProvider) -> None:
        ref = await self.running(provider, _STUBBORN)
        await asyncio.wait_for(provider.cancel(ref), self.patience)
        assert (await provider.status(ref)).state.final

    async def test_nothing_that_it_forked_lives_on(self, provider: AnyProvider) -> None:
        ref = await self.running(provider, _FORKING)
        await asyncio.wait_for(provider.cancel(ref), self.patience)
        before = await self.lines(provider, ref)
        await asyncio.sleep(0.5)
        assert len(await self.lines(provider, ref)) == len(before)

    async def test_what_it_forked_dies_with_the_command(self, provider: AnyProvider) -> None:
        script = "(while :; do echo tick; sleep 0.1; done) & sleep 0.3; exit 6"
        ref = await self.run(provider, script)
        assert (await provider.status(ref)).exit_code == 6
        before = await self.lines(provider, ref)
        await asyncio.sleep(0.5)
        assert len(await self.lines(provider, ref)) == len(before)

    async def test_cancel_twice_and_from_elsewhere(self, provider: AnyProvider) -> None:
        ref = await self.running(provider, "echo ready; exec sleep 600")
        other = await self.another()
        await asyncio.wait_for(other.cancel(ref), self.patience)
        status = await provider.status(ref)
        assert status.state.final
        await provider.cancel(ref)
        assert await provider.status(ref) == status

    async def test_cancel_at_once(self, provider: AnyProvider) -> None:
        if not self.concurrent:
            pytest.skip("this network is not asked the same thing twice at once")
        ref = await self.running(provider, "echo ready; exec sleep 600")
        other = await self.another()
        await asyncio.gather(*(instance.cancel(ref) for instance in [provider, other] * 2))
        assert (await provider.status(ref)).state.final

    async def test_cancel_of_an_ended_job_changes_nothing(self, provider: AnyProvider) -> None:
        ref = await self.run(provider, "exit 3")
        await provider.cancel(ref)
        status = await provider.status(ref)
        assert status.state.final
        if provider.capabilities().keeps_results:
            assert (status.state, status.exit_code) == (RunState.EXITED, 3)

    async def test_cancel_of_a_forgotten_lease_succeeds(self, provider: AnyProvider) -> None:
        ref = await self.run(provider, "true")
        await provider.cancel(ref)
        await provider.forget(ref)
        await provider.cancel(ref)

    async def test_cancel_wins_over_a_racing_commit(self, provider: AnyProvider) -> None:
        """Whichever comes first, nothing runs once both have returned; where nothing is at the
        network before a commit, once a commit that came too late has been taken back, as the step
        does that made it.
        """
        if not self.concurrent:
            pytest.skip("this network is not asked the same thing twice at once")
        other = await self.another()
        script = "while :; do echo tick; sleep 0.1; done"
        reservation = await provider.prepare(self.spec(script), self.key())
        committed, cancelled = await asyncio.gather(
            other.commit(reservation), provider.cancel(reservation.ref), return_exceptions=True
        )
        assert cancelled is None
        if isinstance(committed, BaseException):
            assert isinstance(committed, LeaseLost)
        elif not self.reserves:
            await other.cancel(committed.ref)
        ref = reservation.ref
        assert (await provider.status(ref)).state.final
        before = await self.lines(provider, ref)
        await asyncio.sleep(0.4)
        assert len(await self.lines(provider, ref)) == len(before)
        assert (await provider.usage(ref)).final
