"""The account's deployments that are ours: known by their mark, and closed for sure.

The base Console tells no names in its list; they stand on the chain and are read one by one, each
once in the life of this process: a name never changes. What cannot be younger than its job is not
read at all: the number of a deployment is the time of its creation in milliseconds.

Closing a lease is never enough: the deployment stays active, with its escrow locked, or is listed
for bids again. Only a closed deployment has ended.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from datetime import timedelta

from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.names import Marker, born, marker_of
from providers.errors import OutcomeUnknown, Unavailable

_CLOCKS_DIFFER = timedelta(hours=2)
_NAMES_KEPT = 20_000
_AT_ONCE = 5
_ENDED = ("closed", "overdrawn")
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0


class Deployments:
    """Finds them and ends them."""

    def __init__(self, console: Console, config: AkashConfig) -> None:
        self._console = console
        self._config = config
        self._names: OrderedDict[str, str] = OrderedDict()
        self._reads = asyncio.Semaphore(_AT_ONCE)

    def learn(self, dseq: str, name: str) -> None:
        """What a deployment is called that we have just made."""
        self._names[dseq] = name
        while len(self._names) > _NAMES_KEPT:
            self._names.popitem(last=False)

    async def active(self, key: str) -> list[tuple[wire.Detail, Marker]]:
        """Active deployments of this key, the oldest first.

        Raises:
            Unavailable: it cannot be told; a fresh one may not have its name yet.
        """
        listed = await self._console.active()
        marked = await self._marked(each for each in listed if _young(each.dseq, key))
        of_key = [(detail, marker) for detail, marker in marked if marker.key == key]
        return sorted(of_key, key=lambda pair: int(pair[0].dseq))

    async def made(self, marker: Marker, version: str) -> list[wire.Detail]:
        """Active deployments of a job that is at hand, the oldest first; for `prepare`.

        Its manifest's hash is in the list from the first moment, its name on the chain's index
        only later: those of others that are as new must not keep this job waiting.
        """
        of_job = []
        for detail in await self._console.active():
            if not _young(detail.dseq, marker.key):
                continue
            name = self._told(detail) or self._names.get(detail.dseq)
            known = marker_of(name, self._config.mark) if name else None
            if known.key == marker.key if known else detail.deployment.hash == version:
                of_job.append(detail)
        return sorted(of_job, key=lambda detail: int(detail.dseq))

    async def doubles(self, keys: Collection[str]) -> list[tuple[wire.Detail, Marker]]:
        """Active deployments of these keys, as far as their names are known by now."""
        listed = await self._console.active()
        names = await asyncio.gather(*(self._name_of(detail) for detail in listed))
        of_keys = []
        for detail, name in zip(listed, names, strict=True):
            marker = marker_of(name, self._config.mark) if name else None
            if marker is not None and marker.key in keys:
                of_keys.append((detail, marker))
        return of_keys

    async def closed(self, key: str) -> tuple[str, Marker] | None:
        """The newest closed deployment of this key, if there is one."""
        if self._console.extended:
            closed = await self._console.closed_by_name(key.removeprefix("job_"))
            for named in sorted(closed, key=lambda detail: -int(detail.dseq)):
                marker = marker_of(named.name or "", self._config.mark)
                if marker is not None and marker.key == key:
                    return named.dseq, marker
        skip = 0
        while True:
            page = await self._console.closed(skip)
            for public in page.results:
                if not _young(public.dseq, key):
                    return None
                marker = marker_of(await self._name(public.dseq) or "", self._config.mark)
                if marker is not None and marker.key == key:
                    return public.dseq, marker
            skip += len(page.results)
            if not page.results or skip >= page.count:
                return None

    async def all_active(self) -> list[tuple[wire.Detail, Marker]]:
        """Every active deployment that carries our mark.

        Raises:
            Unavailable: of one it cannot be told.
        """
        return await self._marked(await self._console.active())

    async def close(self, dseq: str) -> None:
        """Returns when the network says that it is closed and its escrow settled.

        Raises:
            Unavailable: it does not say so; to be tried again.
        """
        deadline = time.monotonic() + self._config.close_wait.total_seconds()
        pause = _FIRST_PAUSE
        problem, activity = "", None
        while True:
            try:
                activity = activity or await self._console.close(dseq)
            except (OutcomeUnknown, Unavailable) as error:
                problem = str(error)
            detail = await self._console.detail(dseq)
            if detail is None or _ended(detail):
                return
            failed = await self._failed(activity) if activity else ""
            if failed:
                activity, problem = None, failed
            if time.monotonic() > deadline:
                why = problem or "the network still calls it active"
                raise Unavailable(f"deployment {dseq} is not closed yet: {why}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def sole(self, key: str) -> wire.Detail | None:
        """The one deployment of this key; of several the oldest is kept, the others are closed."""
        return await self._oldest([detail for detail, _ in await self.active(key)])

    async def sole_made(self, marker: Marker, version: str) -> wire.Detail | None:
        """The same for a job that is at hand: see `made`."""
        return await self._oldest(await self.made(marker, version))

    async def _oldest(self, listed: list[wire.Detail]) -> wire.Detail | None:
        for double in listed[1:]:
            await self.close(double.dseq)
        return listed[0] if listed else None

    async def _failed(self, activity: str) -> str:
        """Why a close in the background has failed; empty while it goes on, or is not known."""
        try:
            task = await self._console.activity(activity)
        except Unavailable:
            return ""
        return task.failed if task is not None else "the Console has forgotten that it closes it"

    async def _marked(self, listed: Iterable[wire.Detail]) -> list[tuple[wire.Detail, Marker]]:
        details = list(listed)
        names = await asyncio.gather(*(self._name_of(detail) for detail in details))
        marked = []
        for detail, name in zip(details, names, strict=True):
            if name is None:
                raise Unavailable(
                    f"the name of deployment {detail.dseq} is not known to the network yet"
                )
            marker = marker_of(name, self._config.mark)
            if marker is not None:
                marked.append((detail, marker))
        return marked

    async def _name_of(self, detail: wire.Detail) -> str | None:
        return self._told(detail) or await self._name(detail.dseq)

    def _told(self, detail: wire.Detail) -> str | None:
        """The name that carries our mark, where the list tells names."""
        for name in (detail.name, *(group.group_spec.name for group in detail.groups or ())):
            if name and marker_of(name, self._config.mark):
                self.learn(detail.dseq, name)
                return name
        return None

    async def _name(self, dseq: str) -> str | None:
        if dseq in self._names:
            return self._names[dseq]
        async with self._reads:
            public = await self._console.public_detail(dseq)
        if public is None or not public.other.groups:
            return None
        name = public.other.groups[0].group_spec.name
        self.learn(dseq, name)
        return name


def _ended(detail: wire.Detail) -> bool:
    """Whether nothing can be charged for it any more."""
    return not detail.active and detail.escrow_account.state.state in _ENDED


def _young(dseq: str, key: str) -> bool:
    earliest = born(key) - _CLOCKS_DIFFER
    return int(dseq) >= int(earliest.timestamp() * 1000)
