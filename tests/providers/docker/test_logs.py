"""Logs of a real engine: bounded, complete, in order, resumable."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from providers.docker import DockerProvider
from providers.lines import MAX_LINE
from tests.providers.docker.conftest import job, log_text, new_key, run_to_end
from tests.support import patience

pytestmark = pytest.mark.integration
Make = Callable[..., Any]


class TestLogs:
    async def test_a_flood_is_bounded(self, make: Make) -> None:
        provider: DockerProvider = await make(log_max_size="4Mi")
        text = "0123456789" * 10
        spec = job(f"yes {text} | head -c 200000000; echo; echo the end", resources={"cpu": 2})
        ref, status = await run_to_end(provider, spec)
        assert status.exit_code == 0
        lines = await log_text(provider, ref)
        assert sum(map(len, lines)) <= 4 * 2**20
        assert lines[-1] == "the end"

    async def test_following_a_fast_job_loses_nothing(self, provider: DockerProvider) -> None:
        spec = job("sleep 0.3; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done")
        ref = (await provider.submit(spec, new_key())).ref
        lines = [line.text async for line in provider.logs(ref, follow=True)]
        assert lines == [str(number) for number in range(1, 20001)]

    async def test_resuming_anywhere(self, provider: DockerProvider) -> None:
        script = "for i in 1 2 3 4 5 6; do echo out $i; printf part >&2; echo -n ' ' >&2; "
        script += "echo err $i >&2; sleep 0.25; done; printf 'no newline'"
        ref, _ = await run_to_end(provider, job(script))
        whole = [line async for line in provider.logs(ref)]
        assert len(whole) == 13
        assert whole[-1].text == "no newline"
        for index, line in enumerate(whole):
            rest = [later async for later in provider.logs(ref, since=line.cursor)]
            assert rest == whole[index + 1 :]

    async def test_following_from_before_the_start(self, provider: DockerProvider) -> None:
        reservation = await provider.prepare(job("echo begun; sleep 0.5; echo done"), new_key())

        async def follow() -> list[str]:
            return [line.text async for line in provider.logs(reservation.ref, follow=True)]

        reader = asyncio.create_task(follow())
        await asyncio.sleep(0.5)
        await provider.commit(reservation)
        async with asyncio.timeout(patience(15)):
            assert await reader == ["begun", "done"]

    async def test_a_very_long_line(self, provider: DockerProvider) -> None:
        spec = job("head -c 600000 /dev/zero | tr '\\0' x; echo; echo after")
        ref, _ = await run_to_end(provider, spec)
        *parts, after = await log_text(provider, ref)
        assert "".join(parts) == "x" * 600_000
        assert len(parts) == 3
        assert max(map(len, parts)) <= MAX_LINE
        assert after == "after"

    async def test_a_reader_that_goes_away_frees_its_connection(
        self, provider: DockerProvider
    ) -> None:
        ref = (await provider.submit(job("yes | head -n 1000; sleep 600"), new_key())).ref
        for _ in range(30):
            async for _line in provider.logs(ref, follow=True):
                break
        assert (await provider.network_status()).reachable
        await provider.cancel(ref)
