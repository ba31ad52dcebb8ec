"""Secrets of jobs, sealed for the newer Console."""

import asyncio
import json
from datetime import timedelta

import pytest

from cortex.domain.states import RunState
from providers.akash.console.wire import SealContext
from providers.akash.sdl import secrets as sealing
from providers.base import Reservation
from providers.conformance import eventually
from providers.errors import Unavailable, Unsuitable
from simulators.akash import secrets
from tests.providers.akash.conftest import MakeNet, Net, spec

SECRET = "tr0ub4dor&3 $HOME $$ 'quoted'"
JOB = spec(
    'test "$TOKEN" = "$EXPECTED" && test "$PLAIN" = ac-not-a-reference',
    secret_env={"TOKEN": SECRET, "EXPECTED": SECRET},
    env={"PLAIN": "ac-not-a-reference"},
)


def created(net: Net) -> list[str]:
    """The bodies of all creations."""
    return [
        exchange.request_body.decode()
        for exchange in net.recorder.exchanges
        if (exchange.method, exchange.path) == ("POST", "/v1/deployments")
    ]


def told(net: Net) -> str:
    """Everything that went over the wire, in either direction."""
    bodies = [
        (exchange.request_body + exchange.response_body).decode()
        for exchange in net.recorder.exchanges
    ]
    return "\n".join(bodies)


class TestSealed:
    async def test_they_reach_the_command_and_nobody_else(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = (await akash.submit(JOB, lease)).ref

        async def over() -> bool:
            return (await akash.status(ref)).state is RunState.EXITED

        await eventually(over, what="the end")
        assert (await akash.status(ref)).exit_code == 0
        assert "tr0ub4dor" not in told(net)
        assert "ac-secret://CORTEX_SECRET_1" in created(net)[0]
        assert "tr0ub4dor" not in ref.model_dump_json()

    async def test_a_lost_answer_is_found_by_the_hash_of_the_real_values(
        self, net: Net, lease: str
    ) -> None:
        akash, other = await net.provider(), await net.provider()
        await net.fault("POST /v1/deployments", "drop_after")
        reservation = await akash.prepare(JOB, lease)
        assert "manifest" not in reservation.ref.data
        assert await net.calls("POST", "/v1/deployments") == 1
        await other.commit(Reservation(ref=reservation.ref))
        (deployment,) = net.world.book.deployments.values()
        assert deployment.leases[0].delivered_at is not None
        assert "tr0ub4dor" not in told(net)

    async def test_one_whose_name_no_shell_can_hold(self, net: Net, lease: str) -> None:
        """It travels under another name."""
        akash = await net.provider()
        await akash.prepare(spec(secret_env={"my.token": "tr0ub4dor"}), lease)
        assert "tr0ub4dor" not in told(net)

    async def test_jobs_without_secrets_ask_for_no_key(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await akash.prepare(spec(), lease)
        assert await net.calls("GET", "/v1/sdl-secrets-context") == 0

    async def test_the_consoles_clock_counts(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        for number, minutes in enumerate((10, -10), 1):
            await net.act("skew_clock", seconds=minutes * 60)
            await akash.prepare(JOB, f"{lease[:-1]}{number}")
        await net.act("skew_clock", seconds=0)

    async def test_a_key_that_was_replaced_is_fetched_again(
        self, net: Net, lease: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        akash = await net.provider()
        real, asked = secrets.context, []

        def rotated() -> dict[str, object]:
            asked.append(1)
            return {**real(), "kid": "old"} if len(asked) == 1 else real()

        monkeypatch.setattr(secrets, "context", rotated)
        await akash.prepare(JOB, lease)
        assert len(asked) == 2


class TestNotSealed:
    async def test_older_consoles_get_them_readable(self, older: Net, lease: str) -> None:
        akash = await older.provider()
        await akash.submit(JOB, lease)
        assert "tr0ub4dor" in created(older)[0]
        assert await older.calls("GET", "/v1/sdl-secrets-context") == 0

    async def test_never_means_never(self, net: Net, lease: str) -> None:
        akash = await net.provider(seal_secrets="never")
        await akash.submit(spec("sleep 600", secret_env={"TOKEN": SECRET}), lease)
        assert "tr0ub4dor" in created(net)[0]

    async def test_a_console_that_cannot_seal_now_is_waited_for(
        self, make_net: MakeNet, lease: str
    ) -> None:
        net = await make_net(seals=False)
        akash = await net.provider()
        with pytest.raises(Unavailable, match="SDL secrets encryption is unavailable"):
            await akash.prepare(JOB, lease)
        assert created(net) == []
        net.world.settings.seals = True
        await akash.prepare(JOB, lease)

    async def test_what_is_too_large_is_refused_by_name(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        with pytest.raises(Unsuitable, match="`TOKEN` is larger than the 16 KiB"):
            await akash.prepare(spec(secret_env={"TOKEN": "x" * 20_000}), lease)
        many = {f"S{number}": "x" for number in range(101)}
        with pytest.raises(Unsuitable, match="at most 100 secrets"):
            await akash.prepare(spec(secret_env=many), lease)
        assert created(net) == []

    def test_a_key_that_is_none(self) -> None:
        context = SealContext.model_validate(
            {"sub": "s", "kid": "k", "jwk": {"kty": "RSA", "n": "!", "e": "AQAB"}}
        )
        with pytest.raises(Unavailable, match="key for secrets cannot be used"):
            sealing.seal(sealing.Hidden("sdl", {"A": "b"}), context, 0)

    def test_claims_that_are_not_known(self) -> None:
        context = SealContext.model_validate({**secrets.context(), "requiredClaims": ["nonce"]})
        with pytest.raises(Unavailable, match="wants more of a seal: nonce"):
            sealing.seal(sealing.Hidden("sdl", {"A": "b"}), context, 0)


class TestKinds:
    """Which Console it is, is found out, and found out again."""

    async def test_one_that_is_replaced_by_an_older_one(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await net.act("upgrade", back=True)
        await akash.submit(JOB, lease)  # the key is not there any more: that tells
        await akash.submit(spec("sleep 600"), f"{lease[:-1]}2")
        assert '"deposit"' in created(net)[-1]
        assert len(await net.alive()) == 2

    async def test_one_that_is_replaced_by_a_newer_one(self, older: Net, lease: str) -> None:
        akash = await older.provider()
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await older.act("upgrade")
        deployment = older.world.book.deployments[ref.network_id]
        assert deployment.name is None
        again = await older.provider()
        await again.tend([ref])
        assert deployment.name == deployment.group  # so that it is found by its name
        await again.cancel(ref)
        assert json.loads(created(older)[0])["data"].keys() == {"sdl", "deposit"}

    async def test_it_is_not_asked_each_time(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        await akash.prepare(spec(), lease)
        await akash.prepare(spec(), f"{lease[:-1]}2")
        assert await net.calls("GET", "/v1/deployment-funding-config") == 1


class TestClosing:
    async def test_in_the_background(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await akash.cancel(ref)
        assert (await akash.usage(ref)).final
        assert await net.calls("DELETE", f"/v1/deployments/{ref.network_id}") == 1

    async def test_where_there_is_none(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net(closes_in_background=False)
        akash = await net.provider()
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await akash.cancel(ref)
        await akash.cancel(ref)
        assert await net.alive() == []

    async def test_one_that_fails_is_asked_for_again(self, net: Net, lease: str) -> None:
        akash = await net.provider()
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        await net.act("underflow", times=1)
        await akash.cancel(ref)
        assert await net.calls("DELETE", f"/v1/deployments/{ref.network_id}") == 2

    async def test_a_slow_one_is_not_started_twice(self, make_net: MakeNet, lease: str) -> None:
        net = await make_net(close_delay=1.0)
        akash = await net.provider()
        ref = (await akash.submit(spec("sleep 600"), lease)).ref
        started = asyncio.get_running_loop().time()
        await akash.cancel(ref)
        took = timedelta(seconds=asyncio.get_running_loop().time() - started)
        assert took >= timedelta(seconds=1)
        assert await net.calls("DELETE", f"/v1/deployments/{ref.network_id}") == 1
