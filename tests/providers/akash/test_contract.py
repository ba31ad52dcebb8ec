"""What the adapter sends and the simulator answers, against the Console's official API file."""

import asyncio
from pathlib import Path

import httpx

from cortex.domain.states import RunState
from providers.conformance import eventually
from simulators.akash import API_KEY
from simulators.akash.settings import OWNER
from tests.providers.akash.conftest import Net, key, spec
from tests.support.openapi import Contract

# The file says `^d+$` of numbers: its author meant digits.
_MENDED = {'"^d+$"': '"^\\\\d+$"'}
_GATEWAY = "/gateway/"


def _contract() -> Contract:
    return Contract("akash-console-openapi.json", replace=_MENDED)


def _problems(net: Net, contract: Contract) -> list[str]:
    """The gateways belong to the providers: the Console's file knows nothing of them."""
    ours = [item for item in net.recorder.exchanges if not item.path.startswith(_GATEWAY)]
    known = {
        # Not in the file of this revision: asked to tell apart the two.
        "GET /v1/deployment-funding-config -> 404": "only newer Consoles have it",
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
        (item.method, item.path.replace(ref.network_id, "{dseq}"))
        for item in older.recorder.exchanges
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
