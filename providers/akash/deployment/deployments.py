"""Finds deployments by the mark in their names.

The base Console tells no names in its list; they stand on the chain and are read one by one, each
once in the life of this process: a name never changes. What cannot be younger than its job is not
read at all: the number of a deployment is the time of its creation in milliseconds.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable
from datetime import timedelta

from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.names import Marker, born, marker_of
from providers.errors import Unavailable

_CLOCKS_DIFFER = timedelta(hours=2)
_NAMES_KEPT = 20_000
_AT_ONCE = 5


class Search:
    """What of the account's deployments is ours."""

    def __init__(self, console: Console, mark: str) -> None:
        self._console = console
        self._mark = mark
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
        found = await self._ours(item for item in listed if _young(item.dseq, key))
        mine = [(item, marker) for item, marker in found if marker.key == key]
        return sorted(mine, key=lambda pair: int(pair[0].dseq))

    async def made(self, marker: Marker, version: str) -> list[wire.Detail]:
        """Active deployments of a job that is at hand, the oldest first; for `prepare`.

        Its manifest's hash is in the list from the first moment, its name on the chain's index
        only later: those of others that are as new must not keep this job waiting.
        """
        found = []
        for item in await self._console.active():
            if not _young(item.dseq, marker.key):
                continue
            name = self._told(item) or self._names.get(item.dseq)
            known = marker_of(name, self._mark) if name else None
            if known.key == marker.key if known else item.deployment.hash == version:
                found.append(item)
        return sorted(found, key=lambda item: int(item.dseq))

    async def doubles(self, keys: Collection[str]) -> list[tuple[wire.Detail, Marker]]:
        """Active deployments of these keys, as far as their names are known by now."""
        listed = await self._console.active()
        names = await asyncio.gather(*(self._name_of(item) for item in listed))
        found = []
        for item, name in zip(listed, names, strict=True):
            marker = marker_of(name, self._mark) if name else None
            if marker is not None and marker.key in keys:
                found.append((item, marker))
        return found

    async def closed(self, key: str) -> tuple[str, Marker] | None:
        """The newest closed deployment of this key, if there is one."""
        if self._console.extended:
            found = await self._console.closed_by_name(key.removeprefix("job_"))
            for named in sorted(found, key=lambda item: -int(item.dseq)):
                marker = marker_of(named.name or "", self._mark)
                if marker is not None and marker.key == key:
                    return named.dseq, marker
        skip = 0
        while True:
            page = await self._console.closed(skip)
            for item in page.results:
                if not _young(item.dseq, key):
                    return None
                marker = marker_of(await self._name(item.dseq) or "", self._mark)
                if marker is not None and marker.key == key:
                    return item.dseq, marker
            skip += len(page.results)
            if not page.results or skip >= page.count:
                return None

    async def all_active(self) -> list[tuple[wire.Detail, Marker]]:
        """Every active deployment that carries our mark.

        Raises:
            Unavailable: of one it cannot be told.
        """
        return await self._ours(await self._console.active())

    async def _ours(self, listed: Iterable[wire.Detail]) -> list[tuple[wire.Detail, Marker]]:
        items = list(listed)
        names = await asyncio.gather(*(self._name_of(item) for item in items))
        found = []
        for item, name in zip(items, names, strict=True):
            if name is None:
                raise Unavailable(
                    f"the name of deployment {item.dseq} is not known to the network yet"
                )
            marker = marker_of(name, self._mark)
            if marker is not None:
                found.append((item, marker))
        return found

    async def _name_of(self, item: wire.Detail) -> str | None:
        return self._told(item) or await self._name(item.dseq)

    def _told(self, item: wire.Detail) -> str | None:
        """The name that carries our mark, where the list tells names."""
        for name in (item.name, *(group.group_spec.name for group in item.groups or ())):
            if name and marker_of(name, self._mark):
                self.learn(item.dseq, name)
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


def _young(dseq: str, key: str) -> bool:
    earliest = born(key) - _CLOCKS_DIFFER
    return int(dseq) >= int(earliest.timestamp() * 1000)
