"""Logs: complete, in order, resumable, bounded per line."""

import asyncio

import pytest

from cortex.domain.leases import LeaseRef
from providers.base import LogLine
from providers.conformance._harness import AnyProvider, Harness, texts
from providers.lines import MAX_LINE


class LogChecks(Harness):
    async def test_both_streams_in_order(self, provider: AnyProvider) -> None:
        ref = await self.run(
            provider,
            "for i in 1 2 3; do echo out$i; echo err$i >&2; sleep 0.2; done; echo; printf x",
        )
        lines = await self.lines(provider, ref)
        assert texts(lines, "stdout") == ["out1", "out2", "out3", "", "x"]
        assert texts(lines, "stderr") == ["err1", "err2", "err3"]
        said = texts(lines)
        for i in (1, 2):
            assert said.index(f"err{i}") < said.index(f"out{i + 1}")
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

    async def test_long_lines_are_whole(self, provider: AnyProvider) -> None:
        """At the limit of the pickiest network, over it, and a letter at every border."""
        ref = await self.run(
            provider,
            "fill() { head -c $1 /dev/zero | tr '\\0' $2; echo; }; echo before; "
            "fill 65535 x; fill 65536 y; fill 200000 z; "
            "printf a; i=0; while [ $i -lt 4000 ]; do i=$((i+1)); printf 'ääääääääää'; done; "
            "echo; echo after",
        )
        lines = texts(await self.lines(provider, ref))
        expected = ["before", "x" * 65535, "y" * 65536, "z" * 200_000, "a" + "ä" * 40_000, "after"]
        assert [len(line) for line in lines] == [len(line) for line in expected]
        assert lines == expected

    async def test_what_is_too_long_for_a_line_is_given_as_several(
        self, provider: AnyProvider
    ) -> None:
        ref = await self.run(provider, "head -c 600000 /dev/zero | tr '\\0' x; echo; echo after")
        lines = await self.lines(provider, ref)
        *parts, after = texts(lines)
        assert ("".join(parts), after) == ("x" * 600_000, "after")
        assert max(map(len, parts)) <= MAX_LINE
        for place, line in enumerate(lines):
            rest = await self.lines(provider, ref, since=line.cursor)
            assert texts(rest) == texts(lines[place + 1 :])

    async def test_bytes_that_are_no_text(self, provider: AnyProvider) -> None:
        """They end no line, blind no log, and what is text beside them stays."""
        script = (
            r"printf '\377\376ok\n'; printf 'a\000b\n'; printf 'c\f\v\302\205\342\200\250d\n'; "
            "head -c 20000 /dev/urandom | tr '\\n\\r' '..'; echo; echo ü"
        )
        lines = texts(await self.lines(provider, await self.run(provider, script)))
        assert len(lines) == 5
        assert lines[0].endswith("ok")
        assert lines[1] in ("a\ufffdb", "ab")
        assert lines[2] == "c\f\v\x85\u2028d"
        assert lines[4] == "ü"
        assert not any("\0" in line for line in lines)

    async def test_of_a_progress_bar_the_last_state_stays(self, provider: AnyProvider) -> None:
        bar = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); printf '\\r%d%%' $((i*2)); done"
        ref = await self.run(provider, f"{bar}; echo; echo done; {{ {bar}; }} >&2")
        lines = await self.lines(provider, ref)
        assert texts(lines, "stdout") == ["100%", "done"]
        assert texts(lines, "stderr") == ["100%"]

    async def test_a_line_is_seen_before_it_ends(self, provider: AnyProvider) -> None:
        """A prompt; its cursor is a place before it, so a resumed reader gets it again."""
        if not (self.live_logs and self.partial_lines):
            pytest.skip("this network shows no line before it has ended")
        script = "echo ready; printf 'Name: '; printf '10%%\\r20%%' >&2; exec sleep 600"
        ref = await self.running(provider, script)
        seen = await asyncio.wait_for(self._first_begun(provider, ref), self.patience)
        assert {stream: line.text for stream, line in seen.items()} == {
            "stdout": "Name: ",
            "stderr": "20%",
        }
        assert texts(await self.lines(provider, ref)) == ["ready"]
        assert await self.lines(provider, ref, since=seen["stdout"].cursor) == []

    async def _first_begun(self, provider: AnyProvider, ref: LeaseRef) -> dict[str, LogLine]:
        begun: dict[str, LogLine] = {}
        async for line in provider.logs(ref, follow=True):
            if line.partial:
                begun[line.stream] = line
            if len(begun) == 2:
                break
        return begun

    async def _follow(
        self, provider: AnyProvider, *, ref_since: tuple[LeaseRef, str | None]
    ) -> list[LogLine]:
        ref, since = ref_since
        lines = provider.logs(ref, since=since, follow=True)
        return [line async for line in lines if not line.partial]
