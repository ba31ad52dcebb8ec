"""What following a log leaves at a provider: each look is a batch that its exe-unit keeps."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from cortex.domain.leases import LeaseRef
from providers.base import looked_at
from providers.conformance import eventually
from providers.errors import ProviderError
from providers.golem import GolemProvider
from tests.providers.golem.real.agent import Agent
from tests.providers.golem.real.test_flow import job, new_key

_SECONDS = 6.0


async def left(provider: GolemProvider, agent: Agent, script: str, looked: bool) -> dict[str, Any]:
    """Follow a job for some seconds: batches and bytes at its exe-unit, and the lines that came."""
    ref = (await provider.submit(job(script), new_key())).ref
    unit, lines = agent.unit_of(ref.network_id), list[str]()
    following = asyncio.create_task(_follow(provider, ref, lines, lambda: looked))
    try:

        async def read() -> bool:
            return bool(lines)

        await eventually(read, timeout=60, what="the first line")
        before, began = unit.kept, time.monotonic()
        await asyncio.sleep(_SECONDS)
        after, seconds = unit.kept, time.monotonic() - began
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await provider.cancel(ref)
    return {
        "batches": after.batches - before.batches,
        "bytes": after.size - before.size,
        "seconds": seconds,
        "lines": lines,
    }


async def _follow(
    provider: GolemProvider, ref: LeaseRef, lines: list[str], looked: Callable[[], bool]
) -> None:
    """As the monitor does: where the stream breaks off, it is taken up from the last line."""
    looked_at.set(looked)
    cursor = None
    while True:
        try:
            async for line in provider.logs(ref, since=cursor, follow=True):
                cursor = line.cursor
                lines.append(line.text)
            sys.stdout.write(f"the log of {ref.key} ended\n")
        except ProviderError as error:
            sys.stdout.write(f"the log of {ref.key} broke off: {error!r}\n")
        await asyncio.sleep(0.5)


class TestWhatIsKept:
    async def test_of_a_quiet_job(self, provider: GolemProvider, agent: Agent) -> None:
        """One look of two seconds after the other, where there were two looks each half second."""
        script = "echo begun; sleep 600"
        seen = await left(provider, agent, script, looked=True)
        assert seen["batches"] <= seen["seconds"] / 2 + 1
        unseen = await left(provider, agent, script, looked=False)
        assert unseen["batches"] <= unseen["seconds"] / 10 + 1
        assert unseen["bytes"] <= 2048 * unseen["batches"]

    async def test_of_a_chatty_job(self, provider: GolemProvider, agent: Agent) -> None:
        """Never more than one look each half second, and one in ten where nobody looks on."""
        script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"
        seen = await left(provider, agent, script, looked=True)
        assert seen["batches"] <= seen["seconds"] / 0.5 + 1
        unseen = await left(provider, agent, script, looked=False)
        assert unseen["batches"] <= unseen["seconds"] / 10 + 1
        for measured in (seen, unseen):
            assert measured["lines"] == [f"line {n + 1}" for n in range(len(measured["lines"]))]

    async def test_a_line_is_seen_soon_after_a_long_silence(
        self, provider: GolemProvider, agent: Agent
    ) -> None:
        ref = (await provider.submit(job("sleep 6; date +%s.%N; sleep 600"), new_key())).ref
        lines: list[str] = []
        following = asyncio.create_task(_follow(provider, ref, lines, lambda: True))

        async def read() -> bool:
            return bool(lines)

        await eventually(read, timeout=60, what="the line")
        late = time.time() - float(lines[0])
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await provider.cancel(ref)
        assert late < 8  # less than where nobody looks on; half a second if nothing else is done
