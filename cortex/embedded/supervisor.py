"""The one process that starts the embedded stack, keeps it alive and stops it in order."""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any

from cortex.embedded.apps import stack_parts
from cortex.embedded.child import Child, full_disk, how_it_ended
from cortex.embedded.config import StackConfig, make_folders
from cortex.embedded.errors import StackError
from cortex.embedded.files import disk_warning, trim_log
from cortex.embedded.leftovers import clear_ports, stop_leftovers
from cortex.embedded.reserve import Reserve
from cortex.embedded.service import OnEvent, Part, Phase, Service, SetupTask, StackEvent
from cortex.embedded.state import StackState, stack_lock
from cortex.tasks import end_tasks

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
# A child that lives this long (seconds) is no longer "dying right after its start".
_STEADY = 20.0
_ATTEMPTS = 10
_HOUSEKEEPING = 10.0
_RESERVE_LOOK = 0.5


class Supervisor:
    """Runs the parts of one stack. Use it from the main thread, once.

    Args:
        config: The stack.
        parts: Its services and set-up tasks; None: PostgreSQL, Temporal, migrations, API, worker.
        on_event: Told what happens, on the event loop; must not block.
    """

    def __init__(
        self,
        config: StackConfig,
        *,
        parts: Sequence[Part] | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._config = config
        self._parts = parts
        self._plan: dict[str, Part] = {}
        self._on_event = on_event
        self._children: dict[str, Child] = {}
        self._guards: list[asyncio.Task[None]] = []
        self._done: dict[str, asyncio.Event] = {}
        self._hurry = asyncio.Event()
        self._failed: asyncio.Future[None] | None = None
        self._held = contextlib.ExitStack()
        self._state = StackState(pid=os.getpid(), started=time.time())

    async def start(self) -> None:
        """Start everything; returns when all of it is ready. If that fails, nothing is left.

        Raises:
            AlreadyRunning: another supervisor holds the data folder.
            PortTaken: a stranger listens on one of the ports.
            StackError: a part cannot be started, or ended before it was ready; with its last lines.
        """
        make_folders(self._config.data_dir)
        self._held.enter_context(stack_lock(self._config.run_dir))
        self._failed = asyncio.get_running_loop().create_future()
        try:
            self._config = self._config.save()
            await self._bring_up()
        except BaseException as err:
            failure = _first_error(err)
            if isinstance(failure, StackError):
                self._state.error = str(failure)
                self._emit("stack", "failed", str(failure))
            await self.stop()
            if failure is err:
                raise
            raise failure from None

    async def run_until(self, stop: asyncio.Event) -> None:
        """Watch and restart until `stop` is set. It does not stop the stack: `stop()` does.

        Raises:
            StackError: a part died right after its start too often.
        """
        if self._failed is None:
            raise RuntimeError("start() first")
        stopping = asyncio.ensure_future(stop.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {stopping, self._failed}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            stopping.cancel()

    async def stop(self) -> None:
        """Stop all children in reverse order and let the data folder go. Repeating it is fine."""
        await end_tasks(self._guards)
        self._guards.clear()
        self._state.ready = False
        children = dict(self._children)
        gone = {name: asyncio.Event() for name in children}
        await asyncio.gather(*(self._stop_child(child, gone) for child in children.values()))
        self._children.clear()
        if children:
            self._emit("stack", "stopped")
        self._held.close()

    def hurry(self) -> None:
        """Stop without waiting for anyone: for the second Ctrl-C. Data stays safe."""
        self._hurry.set()

    async def _bring_up(self) -> None:
        for name in await stop_leftovers(self._config.run_dir):
            self._emit(name, "stopped", "left running by an earlier supervisor")
        if self._config.simulators:
            self._config = self._config.with_simulator_ports().save()
        config = self._config
        parts = tuple(self._parts if self._parts is not None else stack_parts(config))
        self._plan = {part.name: part for part in parts}
        await clear_ports(part for part in parts if isinstance(part, Service))
        self._done = {part.name: asyncio.Event() for part in parts}
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self._start_part(part))
        self._guards.append(asyncio.create_task(self._housekeeping()))
        self._guards.append(asyncio.create_task(self._tend_reserve()))
        self._state.ready = True
        self._emit("stack", "ready", f"in {time.monotonic() - began:.1f} s")

    async def _start_part(self, part: Part) -> None:
        for name in part.needs:
            await self._done[name].wait()
        began = time.monotonic()
        self._emit(part.name, "starting")
        if isinstance(part, SetupTask):
            await part.run()
        else:
            await self._start_service(part)
        self._done[part.name].set()
        self._emit(part.name, "ready", f"in {time.monotonic() - began:.1f} s")

    async def _start_service(self, service: Service) -> None:
        config = self._config
        child = Child(service, run_dir=config.run_dir, logs_dir=config.logs_dir)
        self._children[service.name] = child
        if service.prepare is not None:
            await service.prepare()
        child.spawn()
        await child.wait_ready()
        self._guards.append(asyncio.create_task(self._guard(child)))

    async def _guard(self, child: Child) -> None:
        """Restart a child whenever it dies."""
        name, quick = child.service.name, 0
        while True:
            code = await child.exit_code()
            quick = quick + 1 if child.lived < _STEADY else 1
            full = full_disk(child.service, child.said())
            self._emit(name, "died", f"{how_it_ended(code)}{f'. {full}' if full else ''}")
            # A full disk is no reason to give up: once there is space again, it goes on.
            if quick > _ATTEMPTS and full is None:
                self._give_up(child)
                return
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(quick - 1, 10))
            await asyncio.sleep(pause)
            await self._restart(child)

    async def _restart(self, child: Child) -> None:
        """One new start; whether it worked shows when (or if) it ends."""
        name = child.service.name
        child.restarts += 1
        self._emit(name, "restarting", f"restart {child.restarts}")
        try:
            if child.service.prepare is not None:
                await child.service.prepare()
            child.spawn()
        except StackError as err:
            self._emit(name, "note", str(err))
            return
        try:
            await child.wait_ready()
        except StackError as err:
            if child.pid is not None:  # alive and slow: say so, and go on watching
                self._emit(name, "note", str(err))
            return
        self._emit(name, "ready", f"in {child.lived:.1f} s")

    def _give_up(self, child: Child) -> None:
        text = child.report(f"died {_ATTEMPTS + 1} times in a row, each time soon after its start")
        self._state.error = text
        self._emit(child.service.name, "failed", text)
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(StackError(text))

    async def _stop_child(self, child: Child, gone: dict[str, asyncio.Event]) -> None:
        name = child.service.name
        for other, event in gone.items():
            if self._stands_on(other, name):
                await event.wait()
        if child.pid is not None:
            self._emit(name, "stopping")
        await child.stop(self._hurry)
        gone[name].set()
        self._emit(name, "stopped")

    def _stands_on(self, name: str, other: str) -> bool:
        """Whether one part needs the other, directly or through the parts between."""
        needs = self._plan[name].needs if name in self._plan else ()
        return other in needs or any(self._stands_on(need, other) for need in needs)

    async def _housekeeping(self) -> None:
        """Keep logs short, and tell when the disk fills up: servers mostly survive that, mute."""
        warned = False
        while True:
            for path in self._config.logs_dir.glob("*.log"):
                await asyncio.to_thread(trim_log, path)
            folder, keep = self._config.data_dir, self._config.keep_free
            warning = await asyncio.to_thread(disk_warning, folder, keep)
            if warning is not None and not warned:
                self._emit("disk", "note", warning)
            if warning is None and warned:
                self._emit("disk", "ready", "there is enough space again")
            warned = warning is not None
            await asyncio.sleep(_HOUSEKEEPING)

    async def _tend_reserve(self) -> None:
        """Give the servers the last room on a full disk before they need it."""
        reserve = Reserve(self._config.run_dir / "reserve", self._config.keep_free)
        while True:
            if await asyncio.to_thread(reserve.tend) == "released":
                detail = "the servers got the room that was reserved for them"
                self._emit("disk", "note", f"The disk is full: {detail}.")
            await asyncio.sleep(_RESERVE_LOOK)

    def _emit(self, name: str, phase: Phase, detail: str = "") -> None:
        event = StackEvent(name, phase, detail)
        self._state.record(event, self._config.run_dir)
        if self._on_event is not None:
            self._on_event(event)


def _first_error(err: BaseException) -> BaseException:
    """The first cause inside the groups that task groups make."""
    while isinstance(err, BaseExceptionGroup):
        causes: Sequence[BaseException] = err.exceptions
        err = next((cause for cause in causes if isinstance(cause, StackError)), causes[0])
    return err
