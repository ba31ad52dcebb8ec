"""What a job may see, do and use; and that secrets do not lie about."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.spec import JobSpec
from providers.conformance import eventually
from providers.errors import NoCapacity, Unavailable
from providers.local import LocalConfig, LocalProvider


@pytest_asyncio.fixture
async def sandboxed(state_dir: Path, bubblewrap: Path) -> AsyncIterator[LocalProvider]:
    provider = await _provider(state_dir, isolation="bubblewrap", network="none")
    yield provider
    await asyncio.gather(*(provider.forget(ref) for ref in await provider.owned()))
    await provider.aclose()


async def _provider(state_dir: Path, **config: Any) -> LocalProvider:
    provider = LocalProvider(
        "local", LocalConfig.model_validate({"state_dir": state_dir, **config})
    )
    await provider.initialize()
    return provider


def _spec(script: str, **changes: Any) -> JobSpec:
    return JobSpec.model_validate({"command": ["sh", "-c", script], **changes})


def _key() -> str:
    return lease_key(new_id("job"), 1)


async def _run(
    provider: LocalProvider, script: str, **changes: Any
) -> tuple[LeaseSnapshot, list[str], LeaseRef]:
    ref = (await provider.submit(_spec(script, **changes), _key())).ref
    lines = [line.text async for line in provider.logs(ref, follow=True)]
    return await provider.status(ref), lines, ref


class TestSandbox:
    async def test_little_is_visible(self, sandboxed: LocalProvider, state_dir: Path) -> None:
        home = Path.home()
        script = f"""
        for path in {home}/.bashrc /home /etc/shadow /etc/ssh {state_dir} {Path(__file__)} /run; do
            test ! -e $path || echo visible $path
        done
        for path in / /usr /etc /dev /usr/bin; do
            touch $path/x 2>/dev/null && echo written $path
        done
        echo mine > file; echo mine > /tmp/file; echo $HOME; pwd
        """
        status, lines, _ = await _run(sandboxed, script)
        assert lines == ["/work", "/work"]
        assert status.exit_code == 0

    async def test_no_rights_no_neighbours_no_network(self, sandboxed: LocalProvider) -> None:
        script = """
        grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr -s '\\t ' ' '
        ls /proc | grep -c '^[0-9]'
        tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '
        """
        _, lines, _ = await _run(sandboxed, script)
        assert lines[:2] == ["CapEff: 0000000000000000", "NoNewPrivs: 1"]
        assert int(lines[2]) < 8
        assert lines[3:] == ["lo"]
        assert not sandboxed.capabilities().ports

    async def test_a_working_folder_of_the_job(
        self, sandboxed: LocalProvider, tmp_path: Path
    ) -> None:
        _, lines, ref = await _run(sandboxed, "pwd; echo x > out", workdir="/srv/job")
        assert lines == ["/srv/job"]
        assert await sandboxed.outputs(ref, ["/srv/job/out", "/etc/passwd"], tmp_path) == [
            Path("out")
        ]
        for taken in ("/", "/usr/local/x", "/etc", "/tmp", "/proc/1"):
            assert await sandboxed.quote(_spec("true", workdir=taken)) == []

    async def test_what_is_configured_can_be_read(
        self, state_dir: Path, tmp_path: Path, bubblewrap: Path
    ) -> None:
        (tmp_path / "data").write_text("a data set")
        provider = await _provider(
            state_dir, isolation="bubblewrap", read_only_paths=[tmp_path, state_dir.parent]
        )
        script = f"cat {tmp_path}/data; echo; touch {tmp_path}/x 2>&1 || ls -A {state_dir}"
        _, lines, ref = await _run(provider, script)
        assert lines[0] == "a data set"
        assert "Read-only" in lines[1]
        assert lines[2:] == []
        await provider.forget(ref)
        await provider.aclose()

    async def test_the_interpreter_is_there(self, sandboxed: LocalProvider) -> None:
        _, lines, _ = await _run(sandboxed, "python3 -c 'print(6 * 7)'")
        assert lines == ["42"]

    async def test_the_state_says_what_is_in_force(
        self, sandboxed: LocalProvider, local: LocalProvider
    ) -> None:
        assert "bubblewrap, network: none" in (await sandboxed.network_status()).message
        assert "isolation: none" in (await local.network_status()).message
        assert not sandboxed.capabilities().images

    async def test_isolation_that_is_demanded_must_be_had(self, state_dir: Path) -> None:
        with pytest.raises(Unavailable, match="cannot"):
            await _provider(state_dir, isolation="none", network="none")


class TestLimits:
    async def test_memory(self, local: LocalProvider) -> None:
        status, _, _ = await _run(
            local, "(head -c 300000000 /dev/zero; sleep 60) | tail", resources={"memory": "64Mi"}
        )
        assert status.exit_code == 137
        assert "memory" in status.message

    async def test_processes(self, sandboxed: LocalProvider) -> None:
        script = "i=0; while [ $i -lt 40 ]; do sleep 60 & i=$((i+1)); done; wait"
        status, _, _ = await _run(sandboxed, script, resources={"pids": 20})
        assert status.exit_code == 137
        assert "processes" in status.message

    async def test_storage(self, local: LocalProvider) -> None:
        script = "for i in 1 2 3 4 5 6; do head -c 900000 /dev/zero > $i; done; sleep 60"
        status, _, _ = await _run(local, script, resources={"storage": "1Mi"})
        assert status.exit_code == 137
        assert "storage" in status.message

    async def test_one_huge_file(self, sandboxed: LocalProvider) -> None:
        status, _, _ = await _run(
            sandboxed, "exec head -c 9000000 /dev/zero > big", resources={"storage": "1Mi"}
        )
        assert status.exit_code not in (0, None)

    async def test_cores(self, local: LocalProvider) -> None:
        _, lines, _ = await _run(local, "nproc", resources={"cpu": 1})
        assert lines == ["1"]

    async def test_most_jobs(self, state_dir: Path) -> None:
        provider = await _provider(state_dir, isolation="none", max_jobs=1)
        first = await provider.prepare(_spec("true"), _key())
        with pytest.raises(NoCapacity, match="max_jobs"):
            await provider.prepare(_spec("true"), _key())
        await provider.forget(first.ref)
        await provider.forget((await provider.prepare(_spec("true"), _key())).ref)
        await provider.aclose()

    async def test_a_job_that_nobody_will_collect(self, state_dir: Path) -> None:
        provider = await _provider(state_dir, isolation="none")
        hasty = provider.config.model_copy(update={"abandoned_after": timedelta(seconds=1)})
        impatient = LocalProvider("local", hasty)
        await impatient.initialize()
        ref = (await impatient.submit(_spec("sleep 600", duration="1s"), _key())).ref
        record = state_dir / ref.key / "status.json"

        async def ended() -> bool:
            return "no worker came" in record.read_text()

        await eventually(ended, timeout=40, interval=0.5, what="the end")
        await impatient.forget(ref)


class TestSecrets:
    async def test_they_are_nowhere_once_it_runs(
        self, sandboxed: LocalProvider, state_dir: Path
    ) -> None:
        secret = "tr0ub4dor-and-3"
        spec = _spec("echo ready; sleep 60", secret_env={"TOKEN": secret})
        reservation = await sandboxed.prepare(spec, _key())
        plan = state_dir / reservation.ref.key / "plan.json"
        assert plan.stat().st_mode & 0o777 == 0o600
        assert plan.parents[1].stat().st_mode & 0o777 == 0o700
        ref = (await sandboxed.commit(reservation)).ref
        async for _line in sandboxed.logs(ref, follow=True):
            break
        assert _mentions(state_dir, secret) == []
        for process in psutil.process_iter():
            assert secret not in " ".join(_words(process))

    async def test_they_go_with_a_reservation_that_is_cancelled(
        self, local: LocalProvider, state_dir: Path
    ) -> None:
        spec = _spec("true", secret_env={"TOKEN": "tr0ub4dor"})
        reservation = await local.prepare(spec, _key())
        assert _mentions(state_dir, "tr0ub4dor") != []
        await local.cancel(reservation.ref)
        assert _mentions(state_dir, "tr0ub4dor") == []


def _mentions(folder: Path, text: str) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
