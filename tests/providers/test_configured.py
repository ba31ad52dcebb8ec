"""The suite against a configured provider, run as somebody outside of the tree runs it."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from providers.conformance.test_provider import flags
from tests.support import patience


class TestFlags:
    def test_they_are_those_of_the_harness(self) -> None:
        assert flags("image=busybox:1.36 live_logs=no patience=90 sim_url=http://127.0.0.1:1") == {
            "image": "busybox:1.36",
            "live_logs": False,
            "patience": 90.0,
            "sim_url": "http://127.0.0.1:1",
        }
        assert flags("") == {}

    @pytest.mark.parametrize("text", ["colour=red", "live_logs=perhaps", "live_logs", "image="])
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="no flag of the suite"):
            flags(text)


async def test_it_runs_jobs_on_the_provider_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "cortex.toml").write_text(
        f'[providers.mine]\ntype = "local"\nisolation = "none"\nstate_dir = "{tmp_path}/state"\n'
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "providers.conformance"),
        *("-k", "exit_code or both_streams"),
        cwd=tmp_path,
        env={**os.environ, "CORTEX_CONFORMANCE_PROVIDER": "mine"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), patience(60))
    assert process.returncode == 0, out.decode()
    assert "5 passed" in out.decode()
