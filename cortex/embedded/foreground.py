"""The stack for as long as this process lives: `cortex up`, and the background supervisor."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence

from cortex.embedded.config import StackConfig
from cortex.embedded.service import OnEvent, Part
from cortex.embedded.supervisor import Supervisor
from cortex.tasks import end_task


async def run_foreground(
    config: StackConfig,
    *,
    on_event: OnEvent | None = None,
    parts: Sequence[Part] | None = None,
) -> None:
    """Start the stack, keep it alive until SIGINT, SIGTERM or SIGHUP, then stop it in order.

    A second signal stops it at once. Call it from the main thread: signals, and the children's
    tie to their parent, need that.

    Raises:
        StackError: it cannot start, or a part keeps dying; nothing is left running.
    """
    stop = asyncio.Event()
    supervisor = Supervisor(config, parts=parts, on_event=on_event)
    with _signals(stop, supervisor):
        starting = asyncio.ensure_future(supervisor.start())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                await end_task(starting)
                return
            starting.result()
            await supervisor.run_until(stop)
        finally:
            stopping.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
            await supervisor.stop()


@contextlib.contextmanager
def _signals(stop: asyncio.Event, supervisor: Supervisor) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    watched = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        watched.remove(signal.SIGHUP)
    for number in watched:
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in watched:
            loop.remove_signal_handler(number)
