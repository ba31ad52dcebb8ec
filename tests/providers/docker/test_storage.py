"""What a container may write: its own limit, and the room on the engine's disk. Real containers."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cortex.disk import Disk
from cortex.domain.states import RunState
from providers.docker import DockerProvider
from providers.docker.engine import EngineRefused
from providers.errors import NoCapacity
from tests.providers.docker.conftest import job, new_key, run_to_end, until_final
from tests.support import eventually

_MIB = 2**20


class TestLimit:
    async def test_a_job_over_its_storage_is_killed(self, provider: DockerProvider) -> None:
        script = "for n in 1 2 3; do dd if=/dev/zero of=/tmp/$n bs=1M count=8; done; sleep 60"
        ref, end = await run_to_end(provider, job(script, resources={"storage": "16Mi"}))
        assert end.exit_code == 137
        # How much it had written by then is a matter of moments.
        told = r"killed: over its storage limit: it took [\d.]+Mi of 16Mi \(`resources\.storage`\)"
        assert re.fullmatch(told, end.message), end.message
        assert (await provider.usage(ref)).final

    @pytest.mark.parametrize("declared", ["out/big", "out/"])
    async def test_of_a_job_over_its_storage_no_more_than_that_is_kept(
        self, provider: DockerProvider, tmp_path: Path, declared: str
    ) -> None:
        script = (
            f"mkdir out; echo 42 > out/small; head -c {24 * _MIB} /dev/zero > out/big; sleep 60"
        )
        spec = job(script, resources={"storage": "16Mi"}, workdir="/work")
        ref, _ = await run_to_end(provider, spec)
        collected = await provider.outputs(ref, [declared, "out/small"], tmp_path)
        assert list(collected) == [Path("out/small")]
        (left,) = collected.left_out
        assert left.path == "out/big"
        assert f"{16 * _MIB} bytes that the job may keep (`resources.storage`)" in left.reason

    async def test_what_is_not_kept_is_not_read(
        self, make: Callable[..., Any], tmp_path: Path
    ) -> None:
        provider: DockerProvider = await make(max_output_bytes="1Mi")
        spec = job(f"head -c {80 * _MIB} /dev/zero > big; echo 42 > small", workdir="/work")
        ref, _ = await run_to_end(provider, spec)
        collected = await provider.outputs(ref, ["big", "small"], tmp_path)
        assert list(collected) == [Path("small")]
        assert "(`max_output_bytes`)" in collected.left_out[0].reason

    async def test_an_engine_without_quotas_is_asked_once(
        self, provider: DockerProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused: list[str] = []
        create = provider._containers.create

        async def counted(name: str, body: dict[str, Any]) -> str:
            try:
                return await create(name, body)
            except EngineRefused as error:
                refused.append(error.message)
                raise

        monkeypatch.setattr(provider._containers, "create", counted)
        for _ in range(2):
            await provider.prepare(job("true"), new_key())
        assert len(refused) == int(not provider._preparer.quota)


class TestRoom:
    @pytest.fixture
    def free(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """MiB that seem to be free on the engine's disk."""
        megabytes = [400]

        def of(_folder: Path, keep: int | None = None) -> Disk:
            return Disk(1000 * _MIB, megabytes[0] * _MIB, keep or 64 * _MIB)

        monkeypatch.setattr(Disk, "of", of)
        return megabytes

    async def test_the_largest_job_goes_and_the_others_go_on(
        self, make: Callable[..., Any], free: list[int]
    ) -> None:
        provider: DockerProvider = await make(keep_free="64Mi")
        write = "dd if=/dev/zero of=/tmp/big bs=1M count={}; touch /tmp/done; sleep 60"
        large = (await provider.submit(job(write.format(12)), new_key())).ref
        small = (await provider.submit(job(write.format(5)), new_key())).ref

        async def written() -> bool:
            boxes = await provider._containers.sizes(provider._label)
            return sum(box.size for box in boxes) >= 17 * _MIB

        await eventually(written, what="17 MiB of two jobs")
        free[0] = 60
        end = await until_final(provider, large)
        assert "the disk is nearly full, and of all jobs on it this one took the most: 12Mi" in (
            end.message
        )
        assert "60Mi are free, 64Mi are kept for Cortex" in end.message
        # It holds its files until it is forgotten: that is waited for.
        await asyncio.sleep(1)
        assert (await provider.status(small)).state is RunState.RUNNING

    async def test_without_room_nothing_is_started(
        self, make: Callable[..., Any], free: list[int]
    ) -> None:
        provider: DockerProvider = await make()
        free[0] = 63
        with pytest.raises(NoCapacity, match="63Mi are free on the container engine's disk"):
            await provider.prepare(job("true"), new_key())
        assert await provider.owned() == []
