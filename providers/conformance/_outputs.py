"""Result files: what was declared, nothing else, nowhere else."""

import asyncio
import sys
from pathlib import Path

import pytest

from providers.collected import NOTHING_MATCHED, Collected
from providers.conformance import _wicked as wicked
from providers.conformance._harness import AnyProvider, Harness, texts
from providers.errors import ProviderError

_SCRIPT = """
mkdir -p out/deep 'out/with space' empty
echo one > out/deep/a.txt
echo two > b.txt
printf '\\000\\001\\377' > 'out/with space/ü.bin'
head -c 3000000 /dev/zero > big.bin
"""
_LINKS = """
mkdir out
echo mine > out/real.txt
ln -s /etc/passwd out/passwd
ln -s /etc etc
ln -s ../../../../../../../../etc out/up
ln -s /etc/passwd plain
ln -s loop loop
mkfifo out/fifo
"""


class OutputChecks(Harness):
    @pytest.fixture(autouse=True)
    def _has_outputs(self, request: pytest.FixtureRequest) -> None:
        name: str = request.node.originalname
        if not self.has_outputs and hasattr(OutputChecks, name):
            pytest.skip("no result files can be had from this network")

    async def test_files_and_folders(self, provider: AnyProvider, tmp_path: Path) -> None:
        wanted = ["out", "b.txt", "missing", "no/such/file", "big.bin"]
        ref = await self.run(provider, _SCRIPT, outputs=wanted)
        if provider.capabilities().keeps_results:
            await provider.cancel(ref)
        target = tmp_path / "target"
        written = await (await self.another()).outputs(ref, wanted, target)
        assert sorted(map(str, written)) == [
            "b.txt",
            "big.bin",
            "out/deep/a.txt",
            "out/with space/ü.bin",
        ]
        assert (target / "out/deep/a.txt").read_text() == "one\n"
        assert (target / "b.txt").read_text() == "two\n"
        assert (target / "out/with space/ü.bin").read_bytes() == b"\0\1\xff"
        assert (target / "big.bin").stat().st_size == 3_000_000

    async def test_the_wicked_folder(self, provider: AnyProvider, tmp_path: Path) -> None:
        """Every kind of file that has ever cost somebody a result: kept, or named with a reason."""
        ref = await self.run(
            provider, wicked.SCRIPT, outputs=wicked.OUTPUTS, resources=wicked.RESOURCES
        )
        made = {text.removeprefix("made ") for text in texts(await self.lines(provider, ref))}
        if provider.capabilities().keeps_results:
            await provider.cancel(ref)
        target = tmp_path / "target"
        written = await provider.outputs(ref, wicked.OUTPUTS, target)
        assert isinstance(written, Collected)
        left = {left_out.path: left_out.reason for left_out in written.left_out}
        facts = await asyncio.to_thread(wicked.facts, target, written)
        locked = wicked.MAYBE["locked"][0] in left
        sys.stdout.write(wicked.shown(provider.id, facts, written))
        assert facts == wicked.listing(locked=locked)
        maybe = {path: why for name, (path, why) in wicked.MAYBE.items() if name in made}
        if not locked:  # the network reads what the job may not
            maybe.pop(wicked.MAYBE["locked"][0], None)
        assert left == {
            **wicked.LEFT_OUT,
            **dict.fromkeys(wicked.UNMATCHED, NOTHING_MATCHED),
            **maybe,
        }
        assert list(map(str, written.folders)) == list(wicked.FOLDERS)
        assert all((target / path).is_dir() for path in written.folders)
        assert {str(path): raw for path, raw in written.raw.items()} == wicked.RAW

    async def test_one_file_of_a_folder(self, provider: AnyProvider, tmp_path: Path) -> None:
        ref = await self.run(provider, _SCRIPT, outputs=["out/deep/a.txt"])
        written = await provider.outputs(ref, ["out/deep/a.txt"], tmp_path / "target")
        assert written == [Path("out/deep/a.txt")]

    async def test_links_out_are_not_followed(self, provider: AnyProvider, tmp_path: Path) -> None:
        target = tmp_path / "target"
        wanted = ["out", "etc", "plain", "etc/passwd", "out/up/passwd", "loop"]
        ref = await self.run(provider, _LINKS, outputs=wanted)
        written = await provider.outputs(ref, wanted, target)
        assert Path("out/real.txt") in written
        for path in _files(target):
            assert path.resolve().is_relative_to(target.resolve())
            assert "root:" not in path.read_text()

    async def test_paths_cannot_lead_out(self, provider: AnyProvider, tmp_path: Path) -> None:
        """Also where a caller forgot to check them: nothing comes in from outside of the job."""
        ref = await self.run(provider, "echo mine > real.txt")
        target = tmp_path / "target"
        for path in ("../real.txt", "../../../../../../etc/passwd", "a/../../real.txt"):
            try:
                assert await provider.outputs(ref, [path], target) == []
            except (ProviderError, ValueError):
                continue
        assert _files(tmp_path) == []

    async def test_no_files_after_forget(self, provider: AnyProvider, tmp_path: Path) -> None:
        if not provider.capabilities().keeps_results:
            pytest.skip("here result files go with the lease; they are copied before")
        ref = await self.run(provider, "echo mine > real.txt", outputs=["real.txt"])
        await provider.cancel(ref)
        assert await provider.outputs(ref, ["real.txt"], tmp_path / "kept") == [Path("real.txt")]
        await provider.forget(ref)
        if not self.forgets:
            return
        try:
            assert await provider.outputs(ref, ["real.txt"], tmp_path / "gone") == []
        except ProviderError:
            return


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
