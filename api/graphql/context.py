"""What every resolver of one operation has: who asks, the services, and what was read already."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson
from strawberry.dataloader import DataLoader
from strawberry.types import Info

from api.graphql.scalars import Row
from api.live import Session
from api.services import Services
from cortex.db.groups.views import MemberFilter
from cortex.domain.rights import Principal
from cortex.domain.states import JobState
from cortex.services.jobs.metrics import Asked as Metrics
from cortex.services.views import temporal_url

CHARGES: Final = 100
"""Entries of the ledger that a job shows at most; `ledger(job:)` has them all, in pages."""


@dataclass(frozen=True)
class Part:
    """A page of what belongs to something, as a key of a loader: same questions go together."""

    of: str
    after: str | None
    limit: int
    states: tuple[JobState, ...] = ()


class Loaders:
    """Reads of what fields of several objects ask for: one statement for all of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.jobs: DataLoader[str, Row | None] = DataLoader(self._jobs)
        self.groups: DataLoader[str, Row | None] = DataLoader(self._groups)
        self.providers: DataLoader[str, Row | None] = DataLoader(self._providers)
        self.charges: DataLoader[str, list[Row]] = DataLoader(self._charges)
        self.events: DataLoader[Part, Row] = DataLoader(partial(_parts, self._events))
        self.metrics: DataLoader[tuple[str, Metrics], Row | None] = DataLoader(self._metrics)
        self.members: DataLoader[Part, Row] = DataLoader(partial(_parts, self._members))

    async def _jobs(self, ids: list[str]) -> list[Row | None]:
        return self._by_id(ids, await self._services.queries.details(ids))

    async def _groups(self, ids: list[str]) -> list[Row | None]:
        return self._by_id(ids, await self._services.group_queries.groups(ids))

    def _by_id(self, ids: list[str], stored: str) -> list[Row | None]:
        found: dict[str, Row] = {row["id"]: row for row in orjson.loads(stored)}
        for name, row in found.items():
            row["temporal_url"] = temporal_url(self._services.settings.temporal, name)
        return [found.get(each) for each in ids]

    async def _providers(self, ids: list[str]) -> list[Row | None]:
        views = {view.id: view for view in await self._services.registry.views()}
        return [views[each].model_dump(mode="json") if each in views else None for each in ids]

    async def _charges(self, ids: list[str]) -> list[list[Row]]:
        found = await self._services.billing.charges_of(ids, limit=CHARGES)
        return [[entry.model_dump(mode="json") for entry in found[each]] for each in ids]

    async def _events(self, part: Part, ids: Sequence[str]) -> dict[str, Row]:
        pages = await self._services.queries.events_of(ids, after=part.after, limit=part.limit)
        return {name: page.model_dump(mode="json") for name, page in pages.items()}

    async def _metrics(self, parts: list[tuple[str, Metrics]]) -> list[Row | None]:
        shown = await self._services.metrics.of_jobs(parts)
        rows = [None if each is None else each.model_dump(mode="json") for each in shown]
        return [None if row is None else {**row, "nodes": row["points"]} for row in rows]

    async def _members(self, part: Part, ids: Sequence[str]) -> dict[str, Row]:
        where = MemberFilter(states=part.states, after=part.after)
        pages = await self._services.group_queries.members_of(ids, where, limit=part.limit)
        return {name: orjson.loads(page) for name, page in pages.items()}


async def _parts(
    read: Callable[[Part, Sequence[str]], Awaitable[dict[str, Row]]], parts: list[Part]
) -> list[Row]:
    """Pages of many things, those with the same bounds together."""
    alike: defaultdict[Hashable, list[Part]] = defaultdict(list)
    for part in parts:
        alike[part.after, part.limit, part.states].append(part)
    found: dict[Part, Row] = {}
    for some in alike.values():
        pages = await read(some[0], [part.of for part in some])
        found.update({part: pages[part.of] for part in some})
    return [found[part] for part in parts]


@dataclass
class Context:
    """Of one operation.

    Attributes:
        by: Who asks.
        services: What REST's routes call too.
        document: The operation, parsed and checked.
        live: The connection that a subscription goes over.
        position: Of the event that was given last.
    """

    by: Principal
    services: Services
    document: Any = None
    live: Session | None = None
    position: str | None = None
    loaders: Loaders = field(init=False)

    @property
    def session(self) -> Session:
        """The connection of a subscription."""
        assert self.live is not None
        return self.live

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Read anew what is asked for from now on: something was changed."""
        self.loaders = Loaders(self.services)


Asked = Info[Context, None]
"""What a resolver is told."""
