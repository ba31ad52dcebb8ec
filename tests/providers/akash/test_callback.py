"""The end of a command that its runner has told before the provider was gone."""

import shutil
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI

from api.drop import DropMiddleware
from cortex.domain.states import RunState
from providers.akash import AkashProvider
from providers.conformance import eventually
from providers.dropbox import INPUTS, RESULT, DropBox
from simulators.kit.serve import serving
from tests.providers.akash.conftest import Net, spec

_SECRET = b"a secret of the tests"

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None and shutil.which("wget") is None,
    reason="the runner reports with `curl` or `wget`, and this machine has neither",
)


async def _arrived(_key: str, _name: str) -> None:
    """Nobody waits for it here."""


@pytest_asyncio.fixture
async def drop(tmp_path: Path) -> AsyncIterator[DropBox]:
    app = DropMiddleware(
        FastAPI(), folder=tmp_path, secret=_SECRET, limit=1_000_000, arrived=_arrived
    )
    async with serving(app) as url:
        yield DropBox(url, _SECRET)


async def ended(
    net: Net, akash: AkashProvider, drop: DropBox, lease: str, **changes: object
) -> None:
    """A job that ends while nobody looks, and whose provider goes away then."""
    await akash.submit(spec("exit 5", **changes), lease)

    async def told() -> bool:
        return await drop.fetch(lease, RESULT) is not None

    await eventually(told, what="the runner's report")
    await net.act("lose_lease", key=lease)


async def test_the_exit_code_outlives_the_lease(net: Net, lease: str, drop: DropBox) -> None:
    akash = await net.provider()
    akash.drop = drop
    job = spec("exit 5")
    ref = (await akash.prepare(job, lease)).ref
    await ended(net, akash, drop, lease)
    snapshot = await akash.status(ref)
    assert (snapshot.state, snapshot.exit_code) == (RunState.EXITED, 5)
    assert snapshot.finished_at is not None
    await akash.cancel(ref)
    await akash.forget(ref)
    assert await drop.fetch(lease, RESULT) is None


async def test_with_result_files_it_is_run_again(net: Net, lease: str, drop: DropBox) -> None:
    akash = await net.provider()
    akash.drop = drop
    ref = (await akash.prepare(spec("exit 5", outputs=["x"]), lease)).ref
    await ended(net, akash, drop, lease, outputs=["x"])
    assert (await akash.status(ref)).state is RunState.LOST


async def test_a_manifest_with_a_link_can_be_made_again(
    older: Net, lease: str, drop: DropBox
) -> None:
    first, second = await older.provider(), await older.provider()
    first.drop = second.drop = drop
    await older.fault("POST /v1/deployments", "drop_after")
    ref = (await first.prepare(spec(), lease)).ref
    assert "manifest" in ref.data
    assert (await second.prepare(spec(), lease)).ref == ref


async def test_files_come_over_the_drop_box(
    net: Net, lease: str, drop: DropBox, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("from another job\n")
    archive = tmp_path / "inputs.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tmp_path / "a.txt", "in/a.txt")
    akash = await net.provider()
    job = spec("cat in/a.txt", inputs=[{"from": "job_1"}])
    assert await akash.quote(job) == []
    akash.drop = drop
    assert len(await akash.quote(job)) == 1
    assert await akash.quote(spec("x", inputs=[{"from": "job_1"}], kind="service")) == []
    reservation = await akash.prepare(job, lease)
    await akash.put_inputs(reservation, archive)
    ref = (await akash.commit(reservation)).ref

    async def said() -> bool:
        return "from another job" in [line.text async for line in akash.logs(ref)]

    await eventually(said, what="the file of the other job")
    await akash.cancel(ref)
    await akash.forget(ref)
    assert await drop.fetch(lease, INPUTS) is None
