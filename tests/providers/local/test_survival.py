"""What is killed, and when, changes nothing that was promised. Real processes throughout."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance import Patience, eventually
from providers.local import LocalConfig, LocalProvider

pytestmark = pytest.mark.faults

_WORKER = """
import asyncio, json, sys, time
from pathlib import Path
from cortex.domain.leases import LeaseRef
from cortex.domain.spec import JobSpec
from providers.base import Reservation
from providers.local import LocalConfig, LocalProvider

async def main(state_dir, isolation, key, go, spec):
    provider = LocalProvider("local", LocalConfig(state_dir=state_dir, isolation=isolation))
    await provider.initialize()
    if spec:
        await provider.prepare(JobSpec.model_validate(spec), key)
    print("ready", flush=True)
    while not Path(go).exists():
        time.sleep(0.001)
    await provider.commit(Reservation(ref=LeaseRef(key=key, network_id=key)))
    print("committed", flush=True)
    await asyncio.sleep(3600 if spec else 0)

asyncio.run(main(*json.loads(sys.argv[1])))
"""
_ONCE = JobSpec(command=("sh", "-c", "echo ran; echo x >> ran; sleep 0.2"))


def _worker(state_dir: Path, key: str, go: Path, spec: JobSpec | None) -> subprocess.Popen[str]:
    """A process that prepares (where there is a spec) and commits once the file `go` is there."""
    plain = None if spec is None else spec.model_dump(mode="json")
    arguments = json.dumps([str(state_dir), "none", key, str(go), plain])
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", _WORKER, arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=root,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _key() -> str:
    return lease_key(new_id("job"), 1)


def _ref(key: str) -> LeaseRef:
    return LeaseRef(key=key, network_id=key)


async def _log(provider: LocalProvider, ref: LeaseRef) -> list[str]:
    return [line.text async for line in provider.logs(ref, follow=True)]


def _shims(state_dir: Path, key: str) -> list[psutil.Process]:
    shims = []
    for process in psutil.process_iter():
        try:
            if str(state_dir / key) in process.cmdline() and process.status() != "zombie":
                shims.append(process)
        except psutil.Error:
            continue
    return shims


class TestWorkerKilled:
    async def test_the_job_goes_on_and_its_exit_code_is_known(
        self, local: LocalProvider, state_dir: Path, tmp_path: Path
    ) -> None:
        key, go = _key(), tmp_path / "go"
        script = "echo one; sleep 1; echo two; exit 9"
        worker = await asyncio.to_thread(
            _worker, state_dir, key, go, JobSpec(command=("sh", "-c", script))
        )
        go.touch()
        assert worker.stdout is not None
        assert await asyncio.to_thread(worker.stdout.readline) == "committed\n"
        assert (await local.status(_ref(key))).state is not RunState.EXITED
        os.killpg(worker.pid, signal.SIGKILL)
        await asyncio.to_thread(worker.communicate)
        assert await _log(local, _ref(key)) == ["one", "two"]
        status = await local.status(_ref(key))
        assert (status.state, status.exit_code) == (RunState.EXITED, 9)

    async def test_killed_in_the_middle_of_a_commit(
        self, local: LocalProvider, state_dir: Path, tmp_path: Path
    ) -> None:
        """At any moment: the next commit starts it if it was not started, and never twice."""
        for round_ in range(6):
            key, go = _key(), tmp_path / f"go{round_}"
            reservation = await local.prepare(_ONCE, key)
            worker = await asyncio.to_thread(_worker, state_dir, key, go, None)
            go.touch()
            await asyncio.sleep(random.uniform(0, 0.06))
            os.killpg(worker.pid, signal.SIGKILL)
            await asyncio.to_thread(worker.communicate)
            await local.commit(reservation)
            assert await _log(local, reservation.ref) == ["ran"]
            assert (await local.status(reservation.ref)).exit_code == 0
            assert (state_dir / key / "work" / "ran").read_text() == "x\n"


class TestManyCommitters:
    async def test_four_processes_start_it_once(
        self, local: LocalProvider, state_dir: Path, tmp_path: Path
    ) -> None:
        key, go = _key(), tmp_path / "go"
        reservation = await local.prepare(_ONCE, key)
        workers = await asyncio.gather(
            *(asyncio.to_thread(_worker, state_dir, key, go, None) for _ in range(4))
        )
        go.touch()
        for worker in workers:
            out, _ = await asyncio.to_thread(worker.communicate)
            assert (out, worker.returncode) == ("committed\n", 0)
        assert await _log(local, reservation.ref) == ["ran"]
        assert (state_dir / key / "work" / "ran").read_text() == "x\n"

    async def test_a_commit_that_races_with_a_cancel_elsewhere(
        self, local: LocalProvider, state_dir: Path, tmp_path: Path
    ) -> None:
        key, go = _key(), tmp_path / "go"
        script = "while :; do echo x >> ran; sleep 0.02; done"
        reservation = await local.prepare(JobSpec(command=("sh", "-c", script)), key)
        worker = await asyncio.to_thread(_worker, state_dir, key, go, None)
        go.touch()
        await asyncio.sleep(random.uniform(0, 0.04))
        await local.cancel(reservation.ref)
        await asyncio.to_thread(worker.communicate)
        assert (await local.status(reservation.ref)).state.final
        assert (await local.usage(reservation.ref)).final
        assert _shims(state_dir, key) == []
        assert not list((state_dir / key).glob("plan.json"))


class TestShimKilled:
    @pytest.mark.parametrize("isolation", ["none", "bubblewrap"])
    async def test_the_lease_is_lost_and_nothing_runs_on(
        self, state_dir: Path, isolation: str, request: pytest.FixtureRequest
    ) -> None:
        if isolation == "bubblewrap":
            request.getfixturevalue("bubblewrap")
        config = LocalConfig.model_validate({"state_dir": state_dir, "isolation": isolation})
        provider = LocalProvider("local", config)
        await provider.initialize()
        nap = f"{random.randint(10**6, 10**7)}"
        script = f"sleep {nap} & setsid sleep {nap} & (sleep {nap} &) & sleep {nap}"
        ref = (await provider.submit(JobSpec(command=("sh", "-c", script)), _key())).ref

        async def all_there() -> bool:
            return len(_sleepers(nap)) == 4

        await eventually(all_there, what="the job's processes")
        _shims(state_dir, ref.key)[0].kill()

        async def lost() -> bool:
            return (await provider.status(ref)).state is RunState.LOST

        await eventually(lost, what="the loss")

        async def all_gone() -> bool:
            return _sleepers(nap) == []

        await eventually(all_gone, timeout=5, what="the end of the job's processes")
        usage = await provider.usage(ref)
        assert usage.final
        await provider.cancel(ref)
        assert await provider.usage(ref) == usage
        assert (await provider.find(ref.key)) is not None
        await provider.forget(ref)
        await provider.aclose()

    async def test_another_process_of_the_same_number_is_not_taken_for_it(
        self, local: LocalProvider, state_dir: Path
    ) -> None:
        ref = (await local.submit(JobSpec(command=("sleep", "600")), _key())).ref
        _shims(state_dir, ref.key)[0].kill()
        path = state_dir / ref.key / "status.json"
        recorded = json.loads(path.read_text())
        await asyncio.sleep(0.05)  # Start times are counted in hundredths of a second.
        innocent = await asyncio.create_subprocess_exec("sleep", "60")
        path.write_text(json.dumps({**recorded, "pid": innocent.pid}))
        assert (await local.status(ref)).state is RunState.LOST
        await local.cancel(ref)
        assert innocent.returncode is None
        innocent.kill()
        await innocent.wait()

    async def test_a_restart_of_the_machine(self, local: LocalProvider, state_dir: Path) -> None:
        ref = (await local.submit(JobSpec(command=("sleep", "600")), _key())).ref
        path = state_dir / ref.key / "status.json"
        shim = _shims(state_dir, ref.key)[0]
        shim.suspend()  # it writes once more when the command runs
        recorded = json.loads(path.read_text())
        path.write_text(json.dumps({**recorded, "boot": "another"}))
        assert (await local.status(ref)).state is RunState.LOST
        shim.kill()


def _sleepers(nap: str) -> list[psutil.Process]:
    sleepers = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == ["sleep", nap] and process.status() != "zombie":
                sleepers.append(process)
        except psutil.Error:
            continue
    return sleepers


async def test_a_shim_is_small_and_output_is_bounded(state_dir: Path) -> None:
    config = LocalConfig.model_validate(
        {"state_dir": state_dir, "isolation": "none", "max_log_bytes": "1Mi"}
    )
    provider = LocalProvider("local", config)
    await provider.initialize()
    script = "echo first; yes | head -c 300000000; echo last; sleep 1"
    ref = (await provider.submit(JobSpec(command=("sh", "-c", script)), _key())).ref
    peak, waiting = 0, Patience(60)
    while not (await provider.status(ref)).state.final:
        for shim in _shims(state_dir, ref.key):
            peak = max(peak, shim.memory_info().rss)
        await asyncio.sleep(0.1)
        assert not waiting.over
    assert 0 < peak < 24 * 2**20
    log = state_dir / ref.key / "log"
    assert sum(path.stat().st_size for path in log.iterdir()) <= 2**20
    lines = [line async for line in provider.logs(ref)]
    texts = [line.text for line in lines]
    assert (texts[0], texts[-1]) == ("first", "last")
    notices = [i for i, text in enumerate(texts) if "were dropped" in text]
    assert len(notices) == 1
    rest = [line.text async for line in provider.logs(ref, since=lines[notices[0]].cursor)]
    assert rest == texts[notices[0] + 1 :]
    await provider.forget(ref)
    await provider.aclose()
