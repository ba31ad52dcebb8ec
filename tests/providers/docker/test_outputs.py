"""Files of real containers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.docker import DockerProvider
from tests.providers.docker.conftest import job, run_to_end

Make = Callable[..., Any]


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.integration
class TestRealFiles:
    async def test_relative_to_the_working_folder(
        self, provider: DockerProvider, tmp_path: Path
    ) -> None:
        spec = job("echo here > r.txt; echo v > /v/x; ln -s r.txt l", workdir="/some/where")
        spec = spec.model_copy(
            update={"volumes": job("", volumes=[{"name": "v", "path": "/v"}]).volumes}
        )
        ref, _ = await run_to_end(provider, spec)
        written = await provider.outputs(ref, ["r.txt", "/v", "l", "../../etc"], tmp_path)
        assert files(tmp_path) == {"r.txt": "here\n", "v/x": "v\n", "l": "here\n"}
        assert len(written) == 3

    async def test_patterns_right_below_the_root(
        self, provider: DockerProvider, tmp_path: Path
    ) -> None:
        """There the engine would pack the whole container; it is asked what the job has added."""
        ref, _ = await run_to_end(provider, job("echo 1 > one.txt; echo 2 > two.txt; mkdir no.dir"))
        written = await provider.outputs(ref, ["*.txt", "*.csv"], tmp_path)
        assert files(tmp_path) == {"one.txt": "1\n", "two.txt": "2\n"}
        assert len(written) == 2

    async def test_too_large(self, make: Make, tmp_path: Path) -> None:
        provider: DockerProvider = await make(max_output_bytes="1Mi")
        ref, _ = await run_to_end(provider, job("head -c 2000000 /dev/zero > big; echo s > small"))
        written = await provider.outputs(ref, ["big", "small"], tmp_path)
        assert list(written) == [Path("small")]
        assert "max_output_bytes" in written.left_out[0].reason
