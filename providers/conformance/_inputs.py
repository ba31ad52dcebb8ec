"""Files that a job begins with, where the network takes some."""

import io
import tarfile
from pathlib import Path

import pytest

from providers.conformance._harness import AnyProvider, Harness, texts
from providers.errors import LeaseLost

_FILES = {"in/a.txt": b"one\n", "in/deep/b.bin": b"\0\1\xff" * 100_000, "top.txt": b"top\n"}


class InputChecks(Harness):
    @pytest.fixture
    def archive(self, provider: AnyProvider, tmp_path: Path) -> Path:
        """A tar as the worker packs it."""
        if not provider.capabilities().inputs:
            pytest.skip("this network takes no files for a job")
        path = tmp_path / "inputs.tar"
        with tarfile.open(path, "w") as tar:
            for folder in ("in", "in/deep"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o777
                tar.addfile(entry)
            for name, content in _FILES.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
        return path

    async def test_they_are_there_when_the_command_begins(
        self, provider: AnyProvider, archive: Path
    ) -> None:
        script = "cat in/a.txt top.txt; wc -c < in/deep/b.bin; echo more > in/new && cat in/new"
        inputs = [{"from": "job_1"}]
        spec = self.spec(script, inputs=inputs)
        reservation = await provider.prepare(spec, self.key())
        await provider.put_inputs(reservation, archive)
        # Again, by another worker: the first may have died before it wrote down that it was done.
        await (await self.another()).put_inputs(reservation, archive)
        done = await provider.commit(reservation)
        await self.ended(provider, done.ref)
        said = [line.strip() for line in texts(await self.lines(provider, done.ref), "stdout")]
        assert said == ["one", "top", "300000", "more"]

    async def test_a_lease_that_is_gone_takes_none(
        self, provider: AnyProvider, archive: Path
    ) -> None:
        spec = self.spec("true", inputs=[{"from": "job_1"}])
        reservation = await provider.prepare(spec, self.key())
        await provider.cancel(reservation.ref)
        await provider.forget(reservation.ref)
        try:
            await provider.put_inputs(reservation, archive)
        except LeaseLost:
            return
        # Where files wait beside the network, nothing may come of them.
        assert await self.mine(provider) == []
