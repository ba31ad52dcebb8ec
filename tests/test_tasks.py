"""A task that is ended has ended, and a cancellation of whoever ends it is not lost."""

import asyncio
import gc
import weakref

import pytest

from cortex import tasks
from cortex.tasks import apart, end_task, end_tasks
from tests.support import patience


class Slow:
    """A task that takes its time to end, once it is cancelled."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = False

    async def work(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            try:
                await self.may_end.wait()
            finally:
                self.ended = True

    async def started(self) -> "asyncio.Task[None]":
        task = asyncio.create_task(self.work())
        await asyncio.sleep(0)
        return task


async def test_it_waits_for_the_end() -> None:
    slow = Slow()
    task = await slow.started()
    ender = asyncio.create_task(end_task(task))
    await slow.ending.wait()
    assert not ender.done()
    slow.may_end.set()
    await asyncio.wait_for(ender, patience(5))
    assert slow.ended
    assert task.cancelled()


async def test_a_cancellation_of_the_caller_is_passed_on() -> None:
    slow = Slow()
    ender = asyncio.create_task(end_task(await slow.started()))
    await slow.ending.wait()
    ender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(ender, patience(5))
    assert slow.ended


async def test_what_it_fails_with_is_raised() -> None:
    async def broken() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("damaged")

    task = asyncio.create_task(broken())
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="damaged"):
        await end_task(task)


async def test_one_that_has_ended_is_left_alone() -> None:
    async def quick() -> int:
        return 1

    task = asyncio.create_task(quick())
    await task
    await end_task(task)
    assert task.result() == 1


class TestLost:
    """A cancellation that comes together with what is waited for is gone (Python 3.11)."""

    async def test_it_is_asked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "_AGAIN", 0.05)
        heard = 0

        async def deaf() -> None:
            nonlocal heard
            while heard < 2:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    heard += 1

        ones = [asyncio.create_task(deaf()) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.wait_for(end_tasks(ones), patience(5))
        assert all(task.done() for task in ones)

    async def test_what_they_end_with_is_not_raised(self) -> None:
        async def broken() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("broken")

        task = asyncio.create_task(broken())
        await asyncio.sleep(0)
        await end_tasks([task])
        assert isinstance(task.exception(), ValueError)


async def test_nothing_of_it_is_kept() -> None:
    """What was open in a task that was cancelled is closed with it, not at some collection."""

    class Socket:
        pass

    opened: list[weakref.ref[Socket]] = []

    async def connecting() -> None:
        socket = Socket()
        opened.append(weakref.ref(socket))
        await asyncio.Event().wait()

    task = asyncio.create_task(connecting())
    await asyncio.sleep(0)
    gc.disable()
    try:
        await end_task(task)
        assert opened[0]() is None
    finally:
        gc.enable()


class TestApart:
    async def test_gives_what_the_work_gives(self) -> None:
        async def work() -> int:
            return 7

        assert await apart(work()) == 7

    async def test_raises_what_it_fails_with(self) -> None:
        async def work() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await apart(work())

    async def test_is_cancelled_with_the_caller(self) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.create_task(apart(work()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
