"""A provider whose calls are counted: how they end feeds its circuit breaker.

Also what lets a provider be replaced while it is in use: the old one is closed after its last
call, and what would wait for long (a followed log, a push) is told to come back for the new one.
"""

import asyncio
import contextlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.metrics import Sample
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import CallTally, Trial
from cortex.domain.spec import JobSpec
from cortex.tasks import end_tasks
from providers.base import (
    Committed,
    Found,
    LogLine,
    NetworkStatus,
    Provider,
    Report,
    Reservation,
    no_report,
)
from providers.calls import CallBook, noting, step_noted
from providers.errors import OutcomeUnknown, ProviderError, Unavailable
from providers.registry import AnyProvider
from providers.secrets import scrubbed

_log = structlog.get_logger(__name__)
T = TypeVar("T")
# A call that hangs must not keep an old connection open for ever.
_LAST_CALLS = 120.0
_AHEAD = 1000
"""Log lines read ahead of who follows."""


class CountedProvider(Provider[Any]):
    """Passes every call on, and tells how it ended.

    Args:
        inner: The provider itself.
        answered: Called after a call that was answered, be it by a refusal.
        failed: Called with the reason after one that was not, or whose outcome is not known.
        secrets: Its secrets (`providers.secrets`): no error that passes here repeats them.
    """

    def __init__(
        self,
        inner: AnyProvider,
        *,
        answered: Callable[[], Awaitable[None]],
        failed: Callable[[str], Awaitable[None]],
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(inner.id, inner.config)
        self.inner = inner
        self._secrets = secrets or {}
        self.book = CallBook()
        self._answered = answered
        self._failed = failed
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._retired = asyncio.Event()

    def tallies(
        self, *, after: datetime | None = None, keys: Collection[str] = ()
    ) -> list[CallTally]:
        """Its calls, summed up by kind, without its secrets (`CallBook.tallies`)."""
        return [
            tally.model_copy(
                update={"note": self.scrub(tally.note), "call": self.scrub(tally.call)}
            )
            for tally in self.book.tallies(after=after, keys=keys)
        ]

    def scrub(self, text: str) -> str:
        """The text without its secrets."""
        return scrubbed(text, self._secrets)

    async def retire(self) -> None:
        """Close it once its calls are done; the long ones end now."""
        self._retired.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CALLS):
                await self._idle.wait()
        try:
            await self.inner.aclose()
        except Exception:
            _log.exception("provider.close", provider=self.id)

    async def initialize(self) -> None:
        with self._step("initialize"):
            try:
                await self.inner.initialize()
            except ProviderError as error:
                self._scrub(error)
                raise

    async def aclose(self) -> None:
        self._retired.set()
        await self.inner.aclose()

    def capabilities(self) -> Capabilities:
        return self.inner.capabilities()

    def trial(self) -> Trial:
        return self.inner.trial()

    async def pricing(self) -> PriceSheet:
        return await self._call("pricing", (), self.inner.pricing())

    async def quote(self, spec: JobSpec) -> list[Offer]:
        return await self._call("quote", (), self.inner.quote(spec))

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        return await self._call(
            "prepare", [key], self.inner.prepare(spec, key, offer=offer, report=report)
        )

    async def put_inputs(self, reservation: Reservation, archive: Path) -> None:
        return await self._call(
            "put_inputs", [reservation.ref.key], self.inner.put_inputs(reservation, archive)
        )

    async def commit(self, reservation: Reservation) -> Committed:
        return await self._call("commit", [reservation.ref.key], self.inner.commit(reservation))

    async def submit(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Committed:
        return await self._call(
            "submit", [key], self.inner.submit(spec, key, offer=offer, report=report)
        )

    async def find(self, key: str) -> Found | None:
        return await self._call("find", [key], self.inner.find(key))

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        return await self._call("statuses", _keys(refs), self.inner.statuses(refs))

    async def status(self, ref: LeaseRef) -> LeaseSnapshot:
        # Not through `_call`: a lease of which nothing is known now is no outage.
        with self._step("status", [ref.key]):
            try:
                return await self.inner.status(ref)
            except ProviderError as error:
                self._scrub(error)
                raise

    async def stop(self, ref: LeaseRef) -> None:
        await self._call("stop", [ref.key], self.inner.stop(ref))

    async def cancel(self, ref: LeaseRef) -> None:
        await self._call("cancel", [ref.key], self.inner.cancel(ref))

    async def forget(self, ref: LeaseRef) -> None:
        await self._call("forget", [ref.key], self.inner.forget(ref))

    async def usage(self, ref: LeaseRef) -> Usage:
        return await self._call("usage", [ref.key], self.inner.usage(ref))

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        # Not through `_call`: whether it tells figures says nothing about whether it runs jobs.
        with self._step("metrics", _keys(refs)):
            try:
                return await self.inner.metrics(refs)
            except ProviderError as error:
                self._scrub(error)
                raise

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        lines = self.inner.logs(ref, since=since, follow=follow)
        whole = self._until_retired(lines) if follow else lines
        with self._counting():
            # Line by line: between two of them the caller's own work is no part of this step.
            while True:
                try:
                    with noting(self.book, "logs", [ref.key]):
                        line = await anext(whole)
                except StopAsyncIteration:
                    return
                yield line

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        return await self._call("outputs", [ref.key], self.inner.outputs(ref, paths, destination))

    async def owned(self) -> list[LeaseRef]:
        return await self._call("owned", (), self.inner.owned())

    async def network_status(self) -> NetworkStatus:
        with self._step("network_status"):
            status = await self.inner.network_status()
        clean = scrubbed(status.message, self._secrets)
        status = status.model_copy(update={"message": clean})
        if status.reachable:
            await self._answered()
        else:
            await self._failed(status.message or "the network cannot be reached")
        return status

    async def tend(self, refs: Sequence[LeaseRef]) -> None:
        if refs:
            await self._call("tend", _keys(refs), self.inner.tend(refs))
        else:  # most networks have nothing to do then, which says nothing about them
            with self._step("tend"):
                await self.inner.tend(refs)

    async def wait_for_change(self, timeout: timedelta) -> None:
        with self._step("wait_for_change"):
            change = asyncio.ensure_future(self.inner.wait_for_change(timeout))
            retired = asyncio.ensure_future(self._retired.wait())
            try:
                await asyncio.wait({change, retired}, return_when=asyncio.FIRST_COMPLETED)
                if change.done():
                    change.result()
            finally:
                await end_tasks((change, retired))

    async def _until_retired(self, lines: AsyncIterator[LogLine]) -> AsyncIterator[LogLine]:
        """The lines as they come; breaks off when this provider is replaced."""
        queue: asyncio.Queue[LogLine | Exception | None] = asyncio.Queue(_AHEAD)

        async def pump() -> None:
            try:
                async for line in lines:
                    await queue.put(line)
            except Exception as error:
                await queue.put(error)
            else:
                await queue.put(None)

        async def end() -> None:
            await self._retired.wait()
            pumping.cancel()
            await queue.put(Unavailable(f"provider `{self.id}` has a new configuration"))

        pumping = asyncio.create_task(pump())
        ending = asyncio.create_task(end())
        try:
            while (queued := await queue.get()) is not None:
                if isinstance(queued, Exception):
                    raise queued
                yield queued
        finally:
            await end_tasks((pumping, ending))

    async def _call(self, step: str, keys: Sequence[str], call: Awaitable[T]) -> T:
        with self._step(step, keys):
            try:
                result = await call
            except (Unavailable, OutcomeUnknown, TimeoutError) as error:
                self._scrub(error)
                await self._failed(str(error) or "it did not answer in time")
                raise
            except ProviderError as error:
                self._scrub(error)
                await self._answered()
                raise
        await self._answered()
        return result

    def _scrub(self, error: Exception) -> None:
        """Networks and libraries like to repeat what they were given."""
        text = str(error)
        clean = scrubbed(text, self._secrets)
        if clean != text:
            error.args = (clean,)

    @contextlib.contextmanager
    def _step(self, step: str, keys: Sequence[str] = ()) -> Iterator[None]:
        with self._counting(), step_noted(self.book, step, keys):
            yield

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()


def _keys(refs: Sequence[LeaseRef]) -> list[str]:
    return [ref.key for ref in refs]
