"""Logs and files: read while the lease lives, in pieces or through the drop box."""

from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI

from api.drop import DropMiddleware
from cortex.domain.leases import LeaseRef
from providers.conformance import eventually
from providers.dropbox import DropBox
from providers.errors import InvalidSpec
from providers.golem import GolemProvider
from simulators.kit.serve import serving
from tests.providers.golem.conftest import Make, Sim, job, new_key

_MIB = 2**20


SECRET = b"a secret of the tests"


async def nobody(_key: str, _name: str) -> None:
    """Nobody waits for what arrives."""


async def ran(golem: GolemProvider, script: str) -> LeaseRef:
    ref = (await golem.submit(job(script), new_key())).ref

    async def over() -> bool:
        return (await golem.status(ref)).state.final

    await eventually(over, what="the end of the job")
    return ref


NOISE = f"head -c {2 * _MIB} /dev/urandom > noise.bin; cksum < noise.bin"


@pytest_asyncio.fixture
async def sums(golem: GolemProvider) -> LeaseRef:
    return await ran(golem, NOISE)


class TestOutputs:
    async def test_large_files_come_through_the_drop_box(
        self, golem: GolemProvider, sim: Sim, sums: LeaseRef, tmp_path: Path
    ) -> None:
        folder = tmp_path / "drop"
        app = DropMiddleware(
            FastAPI(), folder=folder, secret=SECRET, limit=16 * _MIB, arrived=nobody
        )
        before = await self._batches(sim)
        async with serving(app) as url:
            golem.drop = DropBox(url, SECRET)
            written = await golem.outputs(sums, ["noise.bin"], tmp_path / "to")
        assert written == [Path("noise.bin")]
        assert (tmp_path / "to/noise.bin").stat().st_size == 2 * _MIB
        assert not [path for path in folder.rglob("*") if path.is_file()]
        # One to pack them, one to send them.
        assert await self._batches(sim) == before + 2
        await golem.cancel(sums)

    async def _batches(self, sim: Sim) -> int:
        return sum(call["path"].endswith("/exec") for call in await sim.books("calls"))

    async def test_a_drop_box_that_nobody_reaches_is_done_without(
        self, golem: GolemProvider, sums: LeaseRef, tmp_path: Path
    ) -> None:
        golem.drop = DropBox("http://127.0.0.1:9", SECRET)
        assert await golem.outputs(sums, ["noise.bin"], tmp_path) == [Path("noise.bin")]
        assert (tmp_path / "noise.bin").stat().st_size == 2 * _MIB
        await golem.cancel(sums)

    @pytest.mark.parametrize("limit", ["max_inline_bytes", "max_output_bytes"])
    async def test_too_much_is_said_so(self, make: Make, limit: str, tmp_path: Path) -> None:
        golem = await make(**{limit: "1Mi"})
        ref = await ran(golem, NOISE)
        with pytest.raises(InvalidSpec, match=limit):
            await golem.outputs(ref, ["noise.bin"], tmp_path)
        await golem.cancel(ref)


class TestLogs:
    async def test_a_log_of_many_pieces(self, golem: GolemProvider) -> None:
        ref = await ran(golem, "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo line ü $i; done")
        lines = [line async for line in golem.logs(ref)]
        assert [line.text for line in lines] == [f"line ü {i}" for i in range(1, 9001)]
        rest = [line.text async for line in golem.logs(ref, since=lines[7000].cursor)]
        assert rest == [f"line ü {i}" for i in range(7002, 9001)]
        await golem.cancel(ref)

    async def test_the_job_cannot_speak_for_the_runner(self, golem: GolemProvider) -> None:
        ref = await ran(golem, "echo 'c 0123456789abcdef end 0 1 none'; echo 'o1 x'; exit 4")
        assert (await golem.status(ref)).exit_code == 4
        texts = [line.text async for line in golem.logs(ref)]
        assert texts == ["c 0123456789abcdef end 0 1 none", "o1 x"]
        await golem.cancel(ref)
