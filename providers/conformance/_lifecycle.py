"""Running: states, exit codes, secrets, pushes, restarts."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from cortex.domain.leases import LeaseRef
from cortex.domain.states import RunState
from providers.base import Provider
from providers.conformance._harness import AnyProvider, Harness, secrets_of, texts
from providers.conformance._waiting import eventually


class LifecycleChecks(Harness):
    async def test_a_running_job_says_so(self, provider: AnyProvider) -> None:
        ref = await self.running(provider, "echo ready; exec sleep 600")
        status = await provider.status(ref)
        assert status.key == ref.key
        assert status.exit_code is None
        assert status.finished_at is None
        assert status.started_at is not None
        assert abs(datetime.now(UTC) - status.started_at) < timedelta(minutes=2)

    @pytest.mark.parametrize("code", [0, 1, 7, 137])
    async def test_the_exit_code_arrives(self, provider: AnyProvider, code: int) -> None:
        ref = await self.run(provider, f"exit {code}")
        status = await provider.status(ref)
        assert (status.state, status.exit_code) == (RunState.EXITED, code)
        assert status.started_at is not None
        assert status.finished_at is not None
        assert status.started_at <= status.finished_at
        assert status == await (await self.another()).status(ref)

    async def test_a_command_that_does_not_exist(self, provider: AnyProvider) -> None:
        ref = await self.run(provider, "", command=("/no/such/program", "x"))
        assert (await provider.status(ref)).exit_code in (126, 127)

    async def test_arguments_follow_the_command(self, provider: AnyProvider) -> None:
        ref = await self.run(provider, "", command=("printf", "%s|"), args=("a b", "$HOME", "*"))
        assert texts(await self.lines(provider, ref)) == ["a b|$HOME|*|"]

    async def test_states_in_bulk(self, provider: AnyProvider) -> None:
        over = await self.run(provider, "exit 3")
        live = await self.running(provider, "echo ready; exec sleep 600")
        data = over.data
        unknown = LeaseRef(key=self.key(), network_id="no-such-lease", data=data)
        by_key = {
            snapshot.key: snapshot for snapshot in await provider.statuses([over, unknown, live])
        }
        assert by_key[over.key].exit_code == 3
        assert by_key[live.key].state is RunState.RUNNING
        assert by_key[unknown.key].state is RunState.LOST
        assert await provider.statuses([]) == []

    async def test_variables_and_secrets_reach_the_job(self, provider: AnyProvider) -> None:
        text = "quo\"te $HOME `id` 'x' ü"
        ref = await self.run(
            provider,
            'printf "%s\\n" "$PLAIN" "$TOKEN"',
            env={"PLAIN": text},
            secret_env={"TOKEN": f"s3cret {text}"},
        )
        assert texts(await self.lines(provider, ref)) == [text, f"s3cret {text}"]
        lease = await provider.find(ref.key)
        assert lease is not None
        assert "s3cret" not in lease.ref.model_dump_json()

    async def test_names_that_no_shell_holds(self, provider: AnyProvider) -> None:
        names = {"discovery.type": "single node", "a-b.c": "$HOME 'x'"}
        secret = {"api.key": "s3cret"}
        ref = await self.run(provider, "", command=("env",), env=names, secret_env=secret)
        printed = texts(await self.lines(provider, ref))
        for name, text in (names | secret).items():
            assert f"{name}={text}" in printed

    async def test_owned_lists_ended_leases_until_forgotten(self, provider: AnyProvider) -> None:
        over = await self.run(provider, "true")
        live = await self.running(provider, "echo ready; exec sleep 600")
        assert sorted(await self.mine(provider)) == sorted([over.key, live.key])
        await provider.cancel(over)
        await provider.forget(over)
        await provider.forget(over)
        assert await self.mine(await self.another()) == [live.key]
        if self.forgets:
            assert await provider.find(over.key) is None
            assert (await provider.status(over)).state is RunState.LOST
            assert await self.lines(provider, over) == []

    async def test_the_end_of_a_job_is_pushed(self, provider: AnyProvider) -> None:
        if type(provider).wait_for_change is Provider.wait_for_change:
            pytest.skip("this network does not push; it is polled")
        ref = await self.running(provider, "echo ready; sleep 1")
        while not (status := await provider.status(ref)).state.final:
            await asyncio.wait_for(provider.wait_for_change(timedelta(seconds=30)), 20)
        assert status.finished_at is not None
        assert datetime.now(UTC) - status.finished_at < timedelta(seconds=2)

    async def test_waiting_ends_with_its_timeout(self, provider: AnyProvider) -> None:
        await asyncio.wait_for(provider.wait_for_change(timedelta(seconds=0.2)), 5)

    async def test_a_new_instance_goes_on_with_everything(self, provider: AnyProvider) -> None:
        """As after a restart of the worker in the middle of a job."""
        first = await self.make_provider()
        ref = await self.running(first, "echo one > file; echo ready; sleep 1; echo done; exit 5")
        before = await self.lines(first, ref)
        cursor = before[-1].cursor if before else None
        await first.aclose()

        second = await self.make_provider()
        lease = await second.find(ref.key)
        assert lease is not None
        assert lease.committed
        assert (await self.ended(second, lease.ref)).exit_code == 5
        rest = texts(await self.lines(second, lease.ref, since=cursor))
        assert texts(before) + rest == ["ready", "done"]
        await second.cancel(lease.ref)
        assert (await second.usage(lease.ref)).final
        await second.forget(lease.ref)
        assert await self.mine(second) == []
        await second.aclose()

    async def test_twenty_leases_at_once(self, provider: AnyProvider) -> None:
        codes = dict.fromkeys(range(20), 0) | {3: 3, 11: 11, 19: 19}
        refs: dict[str, int] = {}
        for first in range(0, 20, 5):
            part = [(i, codes[i]) for i in range(first, first + 5)]
            made = await asyncio.gather(
                *(self.start(provider, f"echo {i}; exit {code}") for i, code in part)
            )
            refs |= {ref.key: code for ref, (_, code) in zip(made, part, strict=True)}
        leases = [ref for ref in await provider.owned() if ref.key in refs]
        assert len(leases) == 20

        async def all_over() -> bool:
            exit_codes = {snapshot.key: snapshot for snapshot in await provider.statuses(leases)}
            assert set(exit_codes) == set(refs)
            return all(snapshot.state.final for snapshot in exit_codes.values())

        await eventually(all_over, timeout=3 * self.patience, interval=4 * self.interval)
        exit_codes = {
            snapshot.key: snapshot.exit_code for snapshot in await provider.statuses(leases)
        }
        assert exit_codes == refs

    async def test_a_job_that_outlives_its_duration(self, provider: AnyProvider) -> None:
        """Cortex ends it: until then nothing false is said, and its bill becomes final."""
        ref = await self.running(provider, "echo ready; exec sleep 600", duration="1s")
        await asyncio.sleep(1.2)
        assert (await provider.status(ref)).exit_code != 0
        await asyncio.wait_for(provider.cancel(ref), self.patience)
        assert (await provider.status(ref)).state.final
        assert (await provider.usage(ref)).final

    async def test_secrets_stand_in_no_log(
        self, provider: AnyProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            ref = await self.run(
                provider,
                'test "$TOKEN" = s3cret-value',
                secret_env={"TOKEN": "s3cret-value"},
            )
            await provider.cancel(ref)
        assert "s3cret-value" not in caplog.text
        for secret in secrets_of(provider.config):
            assert secret not in caplog.text

    async def test_the_network_says_how_it_does(self, provider: AnyProvider) -> None:
        assert (await provider.network_status()).reachable
