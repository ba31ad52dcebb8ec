"""The providers of one worker: from its settings and the database, opened, kept current.

Those of the settings are as they were at the worker's start. Those of the database are taken up,
rebuilt and dropped as they change. A provider that is switched off or gone from the settings takes
no new jobs, but while it holds leases it is kept open, so that they are watched and released.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from activities.runtime.breaker import Breakers
from activities.runtime.builder import Blueprint, Builder
from activities.runtime.checkup import Checkup
from activities.runtime.counted_provider import CountedProvider
from cortex.db.engine import Database
from cortex.db.providers.repository import Observation, Origin
from cortex.domain.errors import CortexError, DatabaseUnavailable
from cortex.domain.events import EventType
from cortex.settings import Settings
from cortex.tasks import end_tasks
from providers.errors import ProviderError, Unavailable
from providers.registry import AnyProvider

_log = structlog.get_logger(__name__)
_FIRST_RETRY = 2.0
_LAST_RETRY = 10.0
# A network that hangs must keep neither the others nor the worker's start waiting.
_PATIENCE = 15.0


@dataclass
class _Member:
    """A provider of this worker."""

    blueprint: Blueprint
    provider: CountedProvider | None = None
    ready: bool = False
    problem: str = "it is being opened"
    opening: asyncio.Task[None] | None = None
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it was tried to open it and that was written down."""


class Fleet:
    """Knows which provider can be used now, and for what."""

    def __init__(
        self, settings: Settings, database: Database, breakers: Breakers | None = None
    ) -> None:
        self._database = database
        self._builder = Builder(settings)
        self._breakers = breakers or Breakers(database, settings.circuit)
        self._checkup = Checkup(database, self._breakers, settings.health)
        self._own = self._builder.of_settings()
        self._members: dict[str, _Member] = {}
        self._known: dict[str, Blueprint] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def breakers(self) -> Breakers:
        return self._breakers

    @property
    def checkup(self) -> Checkup:
        return self._checkup

    @property
    def ids(self) -> tuple[str, ...]:
        """All that are configured here, also those that take no jobs now."""
        return tuple(self._known)

    @property
    def served(self) -> Mapping[str, float | None]:
        """Those whose queue is to be served, with their rate limit."""
        return {name: member.blueprint.rate_limit for name, member in self._members.items()}

    def get(self, provider_id: str) -> AnyProvider:
        """A provider that is open: for the leases it has, and for asking how it is.

        Raises:
            Unavailable: it is not configured in this worker, or its network is away.
        """
        return self.open(provider_id)

    def open(self, provider_id: str) -> CountedProvider:
        """The same, with the record of its calls.

        Raises:
            Unavailable: as `get`.
        """
        member = self._members.get(provider_id)
        if member is None:
            known = provider_id in self._known
            why = "is switched off" if known else "is not configured in this worker"
            raise Unavailable(f"provider `{provider_id}` {why}")
        if member.provider is None or not member.ready:
            raise Unavailable(f"provider `{provider_id}` cannot be used now: {member.problem}")
        return member.provider

    def origin(self, provider_id: str) -> Origin | None:
        """What the provider of this worker was built from; None: of its settings, or not at all."""
        member = self._members.get(provider_id)
        return member.blueprint.origin if member is not None else None

    async def for_placement(self, provider_id: str) -> AnyProvider:
        """A provider that takes new jobs now.

        Raises:
            Unavailable: why it does not.
        """
        blueprint = self._known.get(provider_id)
        if blueprint is not None and not blueprint.enabled:
            raise Unavailable("it is switched off")
        provider = self.get(provider_id)
        await self._breakers.admit(provider_id)
        return provider

    async def timed_out(self, provider_id: str, why: str) -> None:
        """A caller lost its patience with a call: that counts as a failure."""
        await self._breakers.failed(provider_id, why)

    async def start(self) -> None:
        """Tell the database what is configured here, and open what can be opened.

        Returns when each was tried once; those whose network is away are tried again.
        """
        await self._declare()
        await self.sync()
        waits = [member.tried.wait() for member in self._members.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * _PATIENCE):
                await asyncio.gather(*waits)

    async def aclose(self) -> None:
        members, self._members, self._known = list(self._members.values()), {}, {}
        for member in members:
            await _stop(member.opening)
        await end_tasks(self._retiring)
        for member in members:
            if member.provider is not None:
                with contextlib.suppress(Exception):
                    await member.provider.aclose()

    async def sync(self) -> list[str]:
        """Take up what changed in the database; the ids that had been said to be gone.

        Raises:
            DatabaseUnavailable: nothing changes then.
        """
        async with self._database.transaction() as tx:
            managed = await tx.managed.all()
            open_leases = await tx.leases.open_counts()
        self._known = {
            **self._own,
            **{stored.id: self._builder.of_database(stored) for stored in managed},
        }
        for provider_id, member in list(self._members.items()):
            blueprint = self._known.get(provider_id)
            if (
                blueprint is None
                or not _active(blueprint, open_leases)
                or blueprint.differs(member.blueprint)
            ):
                self._drop(provider_id)
            else:
                member.blueprint = blueprint
        for provider_id, blueprint in self._known.items():
            if provider_id not in self._members and _active(blueprint, open_leases):
                self._add(blueprint)
        await self._breakers.refresh()
        async with self._database.transaction() as tx:
            return await tx.providers.seen(list(self._known))

    async def _declare(self) -> None:
        async with self._database.transaction() as tx:
            await tx.managed.publish_types(self._builder.types())
            for blueprint in list(self._own.values()):
                declared = await tx.providers.declare(
                    blueprint.id,
                    blueprint.type,
                    enabled=blueprint.enabled,
                    config=blueprint.public,
                    secret_fields=blueprint.secret_fields,
                    rate_limit=blueprint.rate_limit,
                )
                if not declared:
                    _log.error("fleet.id_taken", provider=blueprint.id, why=_TAKEN)
                    self._own.pop(blueprint.id)
            for provider_id in await tx.providers.withdraw(list(self._own)):
                leases = await tx.leases.open_at(provider_id)
                data = {"configured": False, "message": _gone(leases), "leases": leases}
                _log.warning("fleet.withdrawn", provider=provider_id, **data)
                await tx.events.add(EventType.PROVIDER_UPDATED, provider_id, data=data)

    def _add(self, blueprint: Blueprint) -> None:
        member = self._members[blueprint.id] = _Member(blueprint)
        try:
            inner, secrets = self._builder.build(blueprint)
        except CortexError as error:
            member.problem = error.detail
            member.opening = asyncio.create_task(self._refused(member))
            return
        member.provider = CountedProvider(
            inner,
            answered=partial(self._breakers.answered, blueprint.id),
            failed=partial(self._breakers.failed, blueprint.id),
            secrets=secrets,
        )
        member.opening = asyncio.create_task(self._open(member, member.provider))

    def _drop(self, provider_id: str) -> None:
        member = self._members.pop(provider_id)
        task = asyncio.create_task(_retire(member))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _refused(self, member: _Member) -> None:
        """A configuration that cannot be built here stays so until it changes."""
        await self._written(member, Observation("bad", member.problem), first=True)

    async def _open(self, member: _Member, provider: CountedProvider) -> None:
        wait = _FIRST_RETRY
        while (why := await _problem(provider)) is not None:
            member.problem = why
            if not member.tried.is_set():  # later ones are the scheduled check's to tell
                await self._written(member, Observation("bad", why))
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LAST_RETRY)
        member.ready = True
        origin = member.blueprint.origin
        await _persist(lambda: self._checkup.check(provider, origin=origin, first=True))
        member.tried.set()

    async def _written(
        self, member: _Member, observation: Observation, *, first: bool = False
    ) -> None:
        observation = replace(observation, origin=member.blueprint.origin)
        note = partial(self._checkup.note, member.blueprint.id, observation, first=first)
        await _persist(note)
        member.tried.set()


_TAKEN = "the API made a provider of this id, which is the one in use; rename one of them"


def _gone(leases: list[str]) -> str:
    if not leases:
        return "it is no longer in the settings of the workers"
    names = ", ".join(leases)
    return (
        f"it is no longer in the settings of the workers, and {len(leases)} of its leases wait to "
        f"be watched and released: {names}. Put it back, or add one of this id over the API"
    )


def _active(blueprint: Blueprint, open_leases: Mapping[str, int]) -> bool:
    return blueprint.enabled or bool(open_leases.get(blueprint.id))


async def _problem(provider: CountedProvider) -> str | None:
    """Why a provider cannot be opened; None once it is open."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await provider.initialize()
    except (ProviderError, CortexError) as error:
        return str(error)
    except TimeoutError:
        return f"it did not answer within {_PATIENCE:g} s"
    except Exception as error:
        _log.exception("provider.bug", provider=provider.id)
        return f"internal error ({type(error).__name__})"
    return None


async def _persist(write: Callable[[], Awaitable[Any]]) -> None:
    """Write, and leave it to the next check if the database is away."""
    try:
        await write()
    except DatabaseUnavailable as error:
        _log.warning("fleet.database_away", error=error.detail)
    except Exception:  # it must go on: other providers wait for it
        _log.exception("fleet.bug")


async def _retire(member: _Member) -> None:
    await _stop(member.opening)
    if member.provider is not None:
        await member.provider.retire()


async def _stop(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        await end_tasks([task])
