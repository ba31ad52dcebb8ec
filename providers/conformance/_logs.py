"""Logs: complete, in order, resumable, bounded per line."""

import asyncio

import pytest

from cortex.domain.leases import LeaseRef
from providers.base import LogLine
from providers.conformance._harness import AnyProvider, Harness, texts

_MAX_LINE = 64 * 1024


class LogChecks(Harness):
    async def test_both_streams_in_order(self, provider: AnyProvider) -> None:
        ref = await self.run(
            provider,
            "for i in 1 2 3; do echo out$i; echo err$i >&2; sleep 0.2; done; echo; printf x",
        )
        lines = await self.lines(provider, ref)
        assert texts(lines, "stdout") == ["out1", "out2", "out3", "", "x"]
        assert texts(lines, "stderr") == ["err1", "err2", "err3"]
        order = texts(lines)
        for i in (1, 2):
            assert order.index(f"err{i}") < order.index(f"out{i + 1}")
        times = [line.time for line in lines]
        assert all(moment.tzinfo is not None for moment in times)
        assert times == sorted(times)

    async def test_cursors_resume_without_loss_or_repetition(self, provider: AnyProvider) -> None:
        ref = await self.run(
            provider, "i=0; while [ $i -lt 40 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done"
        )
        lines = await self.lines(provider, ref)
        assert len(lines) == 80
        assert len({line.cursor for line in lines}) == 80
        other = await self.another()
        for place in (0, 1, 17, 40, 78, 79):
            rest = await self.lines(other, ref, since=lines[place].cursor)
            assert texts(rest) == texts(lines[place + 1 :])

    async def test_same_lines_at_the_same_moment_are_all_kept(self, provider: AnyProvider) -> None:
        ref = await self.run(provider, "i=0; while [ $i -lt 500 ]; do echo x; i=$((i+1)); done")
        lines = await self.lines(provider, ref)
        assert texts(lines) == ["x"] * 500
        assert len(await self.lines(provider, ref, since=lines[249].cursor)) == 250

    async def test_follow_goes_on_until_the_job_ends(self, provider: AnyProvider) -> None:
        script = "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; echo end >&2"
        ref = await self.start(provider, script)
        first = await asyncio.wait_for(self._follow(provider, ref_since=(ref, None)), self.patience)
        assert texts(first) == ["1", "2", "3", "4", "5", "end"]
        again = self._follow(provider, ref_since=(ref, first[2].cursor))
        assert texts(await asyncio.wait_for(again, self.patience)) == ["4", "5", "end"]

    async def test_reading_in_pieces_while_it_runs(self, provider: AnyProvider) -> None:
        ref = await self.start(
            provider, "i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.02; done"
        )
        seen: list[LogLine] = []
        over = False
        while not over:
            over = (await provider.status(ref)).state.final
            seen += await self.lines(provider, ref, since=seen[-1].cursor if seen else None)
            await asyncio.sleep(0.05)
        assert texts(seen) == [str(i) for i in range(60)]

    async def test_logs_stay_after_cancel_until_forget(self, provider: AnyProvider) -> None:
        if not provider.capabilities().keeps_results:
            pytest.skip("here the output goes with the lease; it is read before")
        ref = await self.running(provider, "echo ready; exec sleep 600")
        task = asyncio.create_task(self._follow(provider, ref_since=(ref, None)))
        await asyncio.sleep(0.2)
        await provider.cancel(ref)
        assert texts(await asyncio.wait_for(task, self.patience)) == ["ready"]
        assert texts(await self.lines(provider, ref)) == ["ready"]
        await provider.forget(ref)
        if self.forgets:
            assert await self.lines(provider, ref) == []
            assert await asyncio.wait_for(self._follow(provider, ref_since=(ref, None)), 10) == []

    async def test_long_lines_are_cut(self, provider: AnyProvider) -> None:
        ref = await self.run(
            provider, "echo before; head -c 200000 /dev/zero | tr '\\0' x; echo; echo after"
        )
        lines = texts(await self.lines(provider, ref))
        assert (lines[0], lines[-1]) == ("before", "after")
        assert all(len(line.encode()) <= _MAX_LINE for line in lines)
        assert max(len(line) for line in lines) > 1000
        assert set("".join(lines[1:-1])) <= set("x") or "cut" in "".join(lines[1:-1])

    async def test_bytes_that_are_no_text(self, provider: AnyProvider) -> None:
        ref = await self.run(provider, "printf '\\377\\376ok\\n'; printf 'a\\000b\\n'; echo ü")
        lines = texts(await self.lines(provider, ref))
        assert len(lines) == 3
        assert lines[0].endswith("ok")
        assert lines[2] == "ü"
        assert not any("\0" in line for line in lines)

    async def _follow(
        self, provider: AnyProvider, *, ref_since: tuple[LeaseRef, str | None]
    ) -> list[LogLine]:
        ref, since = ref_since
        return [line async for line in provider.logs(ref, since=since, follow=True)]
