"""What the processes of a job take: CPU with that of children, memory that is really there."""

import sys

import pytest

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef
from cortex.domain.metrics import Sample
from cortex.domain.spec import JobSpec
from providers.local import LocalProvider
from tests.support import eventually

MIB = 2**20


async def started(local: LocalProvider, code: str) -> LeaseRef:
    """A job that runs this Python."""
    spec = JobSpec.model_validate({"command": [sys.executable, "-S", "-c", code]})
    return (await local.submit(spec, lease_key(new_id("job"), 1))).ref


async def sample(local: LocalProvider, ref: LeaseRef) -> Sample | None:
    samples = await local.metrics([ref])
    return samples[0] if samples else None


async def test_cpu_of_processes_that_run_and_that_have_ended(local: LocalProvider) -> None:
    """A child burns half a second and ends, then the job itself idles."""
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    code = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-S', '-c', {burn!r}]); "
        "time.sleep(600)"
    )
    ref = await started(local, code)
    seen: list[float] = []

    async def burnt() -> bool:
        told = await sample(local, ref)
        if told is not None and told.cpu_seconds is not None:
            seen.append(told.cpu_seconds)
        return bool(seen) and seen[-1] >= 0.5

    await eventually(burnt, what="half a second of CPU time")
    # Starting Python costs a little too; and the counter never goes back.
    assert seen[-1] < 3
    assert seen == sorted(seen)


async def test_memory_that_is_in_use(local: LocalProvider) -> None:
    ref = await started(local, "x = bytearray(b'x' * (96 << 20)); import time; time.sleep(600)")

    async def taken() -> bool:
        told = await sample(local, ref)
        return told is not None and (told.memory or 0) >= 96 * MIB

    await eventually(taken, what="96 MiB in use")
    told = await sample(local, ref)
    assert told is not None
    assert told.memory is not None
    assert told.memory < 96 * MIB * 2.5
    assert told.network_sent is None


async def test_of_what_does_not_run_nothing_is_told(local: LocalProvider) -> None:
    ref = await started(local, "pass")

    async def over() -> bool:
        return (await local.status(ref)).state.final

    await eventually(over, what="the end of the job")
    reserved = await local.prepare(JobSpec(command=("true",)), lease_key(new_id("job"), 1))
    key = lease_key(new_id("job"), 1)
    nothing = LeaseRef(key=key, network_id=key)
    strange = LeaseRef(key="../x", network_id="../x")
    assert await local.metrics([ref, reserved.ref, nothing, strange]) == []


async def test_is_what_it_says_it_tells(local: LocalProvider) -> None:
    assert local.capabilities().metrics == ("cpu", "memory")


@pytest.mark.parametrize("count", [0, 3])
async def test_several_at_once(local: LocalProvider, count: int) -> None:
    refs = [await started(local, "import time; time.sleep(600)") for _ in range(count)]

    async def all_there() -> bool:
        return {told.key for told in await local.metrics(refs)} == {ref.key for ref in refs}

    await eventually(all_there, what="a sample of each")
