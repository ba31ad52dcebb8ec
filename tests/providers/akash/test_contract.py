"""What the adapter sends and the simulator answers, against the Console's official API file.

And against the same file with what is recorded to have changed in it since, for the newer Console.
"""

import asyncio
from pathlib import Path

import httpx

from cortex.domain.states import RunState
from providers.conformance import eventually
from simulators.akash import API_KEY
from simulators.akash.settings import OWNER
from tests.providers.akash.conftest import Net, key, spec
from tests.providers.akash.newer_api import newer_contract
from tests.support.openapi import Contract, Exchange

# The file says `^d+$` of numbers: its author meant digits.
_MENDED = {'"^d+$"': '"^\\\\d+$"'}
_CHAIN = "/akash/"


def _contract() -> Contract:
    return Contract("akash-console-openapi.json", replace=_MENDED)


def _ours(net: Net) -> list[Exchange]:
    return [exchange for exchange in net.recorder.exchanges if not exchange.path.startswith(_CHAIN)]


def _problems(net: Net, contract: Contract) -> list[str]:
    """The chain has an interface of its own: the Console's file knows nothing of it."""
    ours = _ours(net)
    known = {
        # Not in the file of this revision: asked to tell apart the two.
        "GET /v1/deployment-funding-config": "only newer Consoles have it, and the file is older",
    }
    assert ours
    return contract.problems(ours, known=known)


async def test_a_whole_job(older: Net, tmp_path: Path) -> None:
    contract = _contract()
    akash = await older.provider()
    job = spec("echo ready; echo x > out; sleep 0.3; exit 3", outputs=["out"])
    await akash.pricing()
    (offer,) = await akash.quote(job)
    name = key()
    ref = (await akash.submit(job, name, offer=offer)).ref

    async def over() -> bool:
        return (await akash.status(ref)).state is RunState.EXITED

    await eventually(over, what="the end")
    await akash.tend([ref])
    assert await akash.outputs(ref, ["out"], tmp_path)
    assert await akash.find(name)
    assert await akash.owned()
    assert (await akash.network_status()).reachable
    await akash.cancel(ref)
    assert await (await older.provider()).find(name)
    assert (await akash.usage(ref)).final
    assert _problems(older, contract) == []
    asked = {
        (exchange.method, exchange.path.replace(ref.network_id, "{dseq}"))
        for exchange in older.recorder.exchanges
    }
    assert ("POST", "/v1/leases") in asked
    assert ("DELETE", "/v1/deployments/{dseq}") in asked
    assert ("GET", f"/v1/deployment/{OWNER}/{{dseq}}") in asked


async def test_a_service_with_ports_volumes_and_a_gpu(older: Net) -> None:
    contract = _contract()
    akash = await older.provider()
    job = spec(
        "sleep 600",
        kind="service",
        ports=[{"port": 8080}, {"port": 5432, "name": "tcp-db"}],
        volumes=[{"name": "data", "path": "/data"}],
        resources={"gpu": {"model": "a100"}},
        placement={"regions": ["eu-west"]},
    )
    (offer,) = await akash.quote(job)
    ref = (await akash.submit(job, key(), offer=offer)).ref

    async def up() -> bool:
        return (await akash.status(ref)).state is RunState.RUNNING

    await eventually(up, what="the service")
    await akash.cancel(ref)
    assert _problems(older, contract) == []


async def test_a_top_up(older: Net) -> None:
    contract = _contract()
    akash = await older.provider(top_up_below="300d")
    job = spec("sleep 600", duration="60d")
    (offer,) = await akash.quote(job)
    ref = (await akash.submit(job, key(), offer=offer)).ref
    await akash.tend([ref])
    await asyncio.sleep(0)
    assert await older.calls("POST", "/v1/deposit-deployment") == 1
    assert _problems(older, contract) == []


async def test_what_the_simulator_answers_by_itself(older: Net) -> None:
    """Calls that the adapter does not make now, but that this Console answers."""
    contract = _contract()
    akash = await older.provider()
    ref = (await akash.submit(spec("sleep 600"), key())).ref
    async with httpx.AsyncClient(base_url=older.url, headers={"x-api-key": API_KEY}) as client:
        for path in (
            f"/v2/deployment-settings/{ref.network_id}",
            "/v1/deployments?skip=0&limit=1",
            f"/v1/addresses/{OWNER}/deployments/0/10?status=active",
            "/v1/providers/akash1providereuropeqqqqqqqqqqqqqqqqqqqqqqqq",
            "/v1/blocks?limit=3",
        ):
            assert (await client.get(path)).is_success
        one = {"cpu": 1000, "memory": 2**30, "storage": 2**30}
        assert (await client.post("/v1/pricing", json=one)).is_success
        change = {"data": {"autoTopUpEnabled": True}}
        path = f"/v2/deployment-settings/{ref.network_id}"
        assert (await client.patch(path, json=change)).is_success
    assert _problems(older, contract) == []


async def test_a_whole_job_behind_the_newer_console(net: Net, tmp_path: Path) -> None:
    contract = newer_contract()
    akash = await net.provider(runtime_window="4h")
    job = spec("echo ready; echo x > out; exit 3", outputs=["out"], secret_env={"A": "b"})
    (offer,) = await akash.quote(job)
    name = key()
    reservation = await akash.prepare(job, name, offer=offer)
    await net.act("refuse_manifest", times=1)  # a 502 of a lease that exists
    ref = (await akash.commit(reservation)).ref

    async def over() -> bool:
        return (await akash.status(ref)).state is RunState.EXITED

    await eventually(over, what="the end")
    deployment = net.world.book.deployments[ref.network_id]
    deployment.leases[0].made_at -= 3 * 3600
    deployment.name = None  # as of one that was made before there were names
    await akash.tend([ref])
    assert await akash.outputs(ref, ["out"], tmp_path)
    assert [owned.key for owned in await akash.owned()] == [name]
    await akash.cancel(ref)
    again = await (await net.provider()).find(name)
    assert again is not None
    assert _problems(net, contract) == []
    asked = {(each.method, each.path.replace(ref.network_id, "{}")) for each in _ours(net)}
    assert asked >= {
        ("GET", "/v1/sdl-secrets-context"),
        ("POST", "/v1/deployments"),
        ("POST", "/v1/leases"),
        ("PATCH", "/v1/deployments/{}"),
        ("GET", "/v2/deployment-settings/{}"),
        ("PATCH", "/v2/deployment-settings/{}"),
        ("DELETE", "/v1/deployments/{}"),
    }
    assert any(method == "GET" and path.startswith("/v1/activities/") for method, path in asked)
    assert ("POST", "/v1/deposit-deployment") not in asked


def test_an_amendment_is_no_blank_cheque() -> None:
    """The amended file still refuses what the newer Console refuses."""
    contract = newer_contract()
    body = b'{"data": {"sdl": "x", "runtimeLimitHours": 49}}'
    headers = {"content-type": "application/json", "x-api-key": "key"}
    path = "/v1/deployments"
    wrong = Exchange("POST", path, "", headers, body, 201, headers, b"{}")
    assert "49 is greater than the maximum of 48" in contract.problems([wrong])[0]
    listed = Exchange("GET", path, "limit=1000", headers, b"", 200, headers, b"{}")
    assert "1000 is greater than the maximum of 100" in contract.problems([listed])[0]
