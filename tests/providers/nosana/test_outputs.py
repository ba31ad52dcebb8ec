"""Files of jobs: they come through the drop box, and are left out with a reason."""

from pathlib import Path

from cortex.domain.states import RunState
from providers.collected import NOT_SENT
from tests.providers.nosana.conftest import Sim
from tests.providers.nosana.support import ended, job, new_key


class TestFiles:
    async def test_output_and_files_of_one_job(self, sim: Sim, tmp_path: Path) -> None:
        """With files, the runner is around the command: lines and exit code stay the job's own."""
        provider = await sim.provider()
        script = "echo one; echo two >&2; mkdir out; printf 42 > out/answer; exit 3"
        ref = (await provider.submit(job(script, outputs=["out"]), new_key())).ref
        end = await ended(provider, ref)
        assert (end.state, end.exit_code) == (RunState.EXITED, 3)
        lines = [line async for line in provider.logs(ref)]
        # Two pipes: which line is read first, when both are there, is not told by anything.
        assert sorted((line.stream, line.text) for line in lines) == [
            ("stderr", "two"),
            ("stdout", "one"),
        ]
        assert await provider.outputs(ref, ["out"], tmp_path / "kept") == [Path("out/answer")]
        assert (tmp_path / "kept/out/answer").read_text() == "42"
        await provider.cancel(ref)
        await provider.forget(ref)
        gone = await provider.outputs(ref, ["out"], tmp_path / "gone")
        assert gone == []
        assert [(file.path, file.reason) for file in gone.left_out] == [("out", NOT_SENT)]
        await provider.aclose()

    async def test_too_large(self, sim: Sim, tmp_path: Path) -> None:
        provider = await sim.provider(max_output_bytes="1Mi")
        spec = job("head -c 3000000 /dev/zero > big; echo s > small", outputs=["big", "small"])
        ref = (await provider.submit(spec, new_key())).ref
        await ended(provider, ref)
        written = await provider.outputs(ref, ["big", "small"], tmp_path / "kept")
        assert list(written) == [Path("small")]
        assert "max_output_bytes" in written.left_out[0].reason
        await provider.aclose()
