"""The limit of a job's storage, and the room that jobs leave on a disk: real jobs, real disks."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cortex.disk import Disk
from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.errors import NoCapacity
from providers.local import LocalConfig, LocalProvider
from tests.support import soon
from tests.support.disks import small_disk

_MIB = 2**20
_KEPT = 16 * _MIB


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk("96m") as folder:
        yield folder


@pytest_asyncio.fixture
async def on_disk(disk: Path) -> AsyncIterator[LocalProvider]:
    """A provider whose leases lie on a small disk, of which it keeps a part free."""
    config = LocalConfig(state_dir=disk / "leases", isolation="none", keep_free=_KEPT)
    provider = LocalProvider("local", config)
    await provider.initialize()
    yield provider
    await asyncio.gather(*(provider.forget(ref) for ref in await provider.owned()))
    await provider.aclose()


async def _start(provider: LocalProvider, script: str, **changes: Any) -> LeaseRef:
    spec = JobSpec.model_validate({"command": ["sh", "-c", script], **changes})
    return (await provider.submit(spec, lease_key(new_id("job"), 1))).ref


async def _ended(provider: LocalProvider, ref: LeaseRef, within: float = 20) -> LeaseSnapshot:
    async def look() -> LeaseSnapshot | None:
        snapshot = await provider.status(ref)
        return snapshot if snapshot.state is RunState.EXITED else None

    reached = await eventually(look, timeout=within, what="the end of the job")
    assert reached is not None
    return reached


def _write(size: int, name: str = "big") -> str:
    return f"head -c {size * _MIB} /dev/zero > {name}"


class TestLimit:
    async def test_many_files_are_over_it_at_once(self, local: LocalProvider) -> None:
        script = f"for n in 1 2 3 4 5 6; do {_write(8, '$n')}; done; sleep 60"
        with soon(3):
            ref = await _start(local, script, resources={"storage": "32Mi"})
            end = await _ended(local, ref)
        assert end.exit_code == 137
        assert end.message.startswith("killed: over its storage limit: it took ")
        assert "of 32.0 MiB (`resources.storage`)" in end.message

    async def test_a_removed_file_that_is_open_counts(self, local: LocalProvider) -> None:
        script = f"exec 3> gone; rm gone; head -c {24 * _MIB} /dev/zero >&3; sleep 60"
        end = await _ended(local, await _start(local, script, resources={"storage": "16Mi"}))
        assert "over its storage limit" in end.message

    async def test_a_file_with_two_names_counts_once(self, local: LocalProvider) -> None:
        script = f"{_write(12)}; for n in 1 2 3 4; do ln big $n; done; sleep 1"
        end = await _ended(local, await _start(local, script, resources={"storage": "16Mi"}))
        assert (end.exit_code, end.message) == (0, "")

    async def test_one_file_too_large_is_named(self, local: LocalProvider) -> None:
        script = f"exec {_write(24).replace('> big', '')} > big"
        end = await _ended(local, await _start(local, script, resources={"storage": "16Mi"}))
        assert end.exit_code in (137, 153)
        assert "storage limit" in end.message

    @pytest.mark.parametrize("storage", [16 * _MIB, 1024])
    async def test_the_largest_file_there_can_be_is_kept(
        self, local: LocalProvider, tmp_path: Path, storage: int
    ) -> None:
        ref = await _start(local, "exec cat /dev/zero > big", resources={"storage": storage})
        await _ended(local, ref)
        collected = await local.outputs(ref, ["big"], tmp_path / "kept")
        assert (list(collected), collected.left_out) == ([Path("big")], [])
        assert (tmp_path / "kept/big").stat().st_size == max(storage, 64 * 1024)


class TestRoom:
    async def test_the_largest_job_goes_and_the_others_go_on(
        self, on_disk: LocalProvider, disk: Path
    ) -> None:
        small = await _start(on_disk, f"{_write(6)}; while test ! -e end; do sleep 0.1; done")
        writer = await _start(on_disk, "echo 42 > result; cat /dev/zero > big; sleep 60")
        end = await _ended(on_disk, writer)
        assert end.exit_code == 137
        assert "the disk is nearly full, and of all jobs on it this one took the most" in (
            end.message
        )
        # Nobody had to collect its results for that.
        assert not Disk.of(disk, _KEPT).low
        assert (await on_disk.status(small)).state is RunState.RUNNING
        collected = await on_disk.outputs(writer, ["result", "big"], disk / "kept")
        assert collected == [Path("result")]
        told = {left.path: left.reason for left in collected.left_out if not left.unmatched}
        assert list(told) == ["big"]
        assert told["big"].endswith("was removed with the job's end: the disk was full")
        (Path(on_disk.state_dir) / small.key / "work" / "end").touch()
        assert (await _ended(on_disk, small)).exit_code == 0

    async def test_without_room_nothing_is_started(
        self, on_disk: LocalProvider, disk: Path
    ) -> None:
        (disk / "others").write_bytes(bytes(84 * _MIB))
        with pytest.raises(NoCapacity, match="16Mi are kept free there"):
            await _start(on_disk, "true")

    async def test_inputs_that_do_not_fit_are_refused(
        self, on_disk: LocalProvider, disk: Path, tmp_path: Path
    ) -> None:
        archive = tmp_path / "inputs.tar"
        archive.write_bytes(b"")
        os.truncate(archive, 100 * _MIB)
        spec = JobSpec.model_validate({"command": ["true"]})
        reservation = await on_disk.prepare(spec, lease_key(new_id("job"), 1))
        with pytest.raises(NoCapacity, match="inputs of the job have 100Mi, .* has room for 8"):
            await on_disk.put_inputs(reservation, archive)

    async def test_results_that_fit_are_kept_and_the_others_named(
        self, on_disk: LocalProvider, disk: Path
    ) -> None:
        script = f"mkdir out; {_write(50, 'out/a')}; echo 42 > out/b; {_write(2, 'out/c')}"
        ref = await _start(on_disk, script)
        assert (await _ended(on_disk, ref)).exit_code == 0
        collected = await on_disk.outputs(ref, ["out/"], disk / "kept")
        assert collected == [Path("out/b"), Path("out/c")]
        (left,) = collected.left_out
        assert left.path == "out/a"
        assert left.reason.startswith("has 50Mi, and the disk has room for ")
