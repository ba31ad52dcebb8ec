"""Heartbeats while a step runs: what it is at, and none once it has ended."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.runtime.heartbeat import beating, doing
from tests.support import patience


class Beats:
    """An activity's surroundings that keep its heartbeats."""

    def __init__(self, timeout: timedelta | None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.again = asyncio.Event()
        self.environment = ActivityEnvironment()
        self.environment.info = replace(self.environment.info, heartbeat_timeout=timeout)
        self.environment.on_heartbeat = self._beat

    def _beat(self, *details: Any) -> None:
        self.told.append(details)
        self.again.set()

    async def next(self) -> None:
        self.again.clear()
        async with asyncio.timeout(patience(10)):
            await self.again.wait()


async def test_they_come_again_and_say_what_is_being_done() -> None:
    beats = Beats(timedelta(seconds=0.15))

    async def step() -> None:
        async with beating():
            await beats.next()
            with doing("look"):
                await beats.next()
            await beats.next()

    await beats.environment.run(step)
    assert beats.told == [(), ("look",), ()]


async def test_none_comes_after_the_end() -> None:
    beats = Beats(timedelta(seconds=0.03))

    async def step() -> None:
        async with beating():
            await beats.next()
        told = len(beats.told)
        await asyncio.sleep(0.1)  # three of them would have come
        assert len(beats.told) == told

    await beats.environment.run(step)


async def test_without_a_timeout_there_are_none() -> None:
    beats = Beats(None)

    async def step() -> str:
        async with beating():
            with doing("look"):
                return "done"

    assert await beats.environment.run(step) == "done"
    assert beats.told == []
