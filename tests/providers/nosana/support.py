"""Jobs for the simulated Nosana, and waiting for their leases."""

from typing import Any

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.base import Provider
from providers.conformance import eventually

IMAGE = "docker.io/library/debian:stable-slim"


def job(script: str = "true", **changes: Any) -> JobSpec:
    fields = {"image": IMAGE, "command": ["sh", "-c", script], "duration": "5m", **changes}
    return JobSpec.model_validate(fields)


def new_key() -> str:
    return lease_key(new_id("job"), 1)


async def ended(provider: Provider[Any], ref: LeaseRef) -> LeaseSnapshot:
    async def final() -> LeaseSnapshot | None:
        snapshot = await provider.status(ref)
        return snapshot if snapshot.state.final else None

    snapshot = await eventually(final, what="the end")
    assert snapshot is not None
    return snapshot


async def running(provider: Provider[Any], ref: LeaseRef) -> None:
    async def runs() -> bool:
        return (await provider.status(ref)).state is RunState.RUNNING

    await eventually(runs, what="the start")
