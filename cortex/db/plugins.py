"""Plugins as the workers report them, and the cursors of those that listen to events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BindParameter, Interval, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.base import NOW
from cortex.db.tables.plugins import PluginRow, SkippedEventRow, SubscriberRow
from cortex.domain.events import Event

_SKIPPED_KEPT = 1000


@dataclass(frozen=True)
class StoredPlugin:
    name: str
    package: str
    version: str
    strategies: tuple[str, ...]
    channels: tuple[str, ...]
    problem: str
    updated_at: datetime


@dataclass(frozen=True)
class StoredSubscriber:
    id: str
    plugin: str
    position: str
    owner: str | None
    attempts: int
    retry_at: datetime | None
    error: str
    delivered: int
    skipped: int
    delivered_at: datetime | None


@dataclass(frozen=True)
class Claimed:
    """A subscriber that this worker may hand events to.

    Attributes:
        position: Of the last event that is done with.
        attempts: How often the next one was tried in vain.
        retry_in: How long to wait until it is tried again.
    """

    position: str
    attempts: int
    retry_in: timedelta


@dataclass(frozen=True)
class Progress:
    """How far a subscriber has come since the last time this was written down.

    Attributes:
        position: Of the last event that is done with: taken, skipped or not wanted.
        delivered: How many were taken.
        attempts: How often the next one was tried in vain.
        error: Why it was not taken.
        retry_in: When it is tried again.
        skipped: The event that was given up, after `tries`.
    """

    position: str
    delivered: int = 0
    attempts: int = 0
    error: str = ""
    retry_in: timedelta | None = None
    skipped: Event | None = None
    tries: int = 0


@dataclass(frozen=True)
class StoredSkip:
    subscriber: str
    event_id: str
    event_type: str
    subject: str
    attempts: int
    error: str
    time: datetime


class PluginRepository(Repository[Access]):
    async def report(self: "PluginRepository[Writes]", plugin: StoredPlugin) -> None:
        """Store what a worker found."""
        values = {
            "package": plugin.package,
            "version": plugin.version,
            "strategies": list(plugin.strategies),
            "channels": list(plugin.channels),
            "problem": plugin.problem,
            "updated_at": NOW,
        }
        await self.connection.execute(
            insert(PluginRow)
            .values(name=plugin.name, **values)
            .on_conflict_do_update(index_elements=["name"], set_=values)
        )

    async def all(self) -> list[StoredPlugin]:
        query = select(PluginRow.__table__).order_by(PluginRow.name)
        return [_plugin(row) for row in (await self.connection.execute(query)).mappings()]

    async def strategies(self, reported_after: datetime) -> set[str]:
        """The strategies of the plugins that some worker has."""
        query = select(func.unnest(PluginRow.strategies)).where(
            PluginRow.updated_at > reported_after
        )
        return set((await self.connection.execute(query)).scalars())

    async def subscribers(self) -> list[StoredSubscriber]:
        query = select(SubscriberRow.__table__).order_by(SubscriberRow.id)
        rows = (await self.connection.execute(query)).mappings()
        return [
            StoredSubscriber(**{name: row[name] for name in StoredSubscriber.__annotations__})
            for row in rows
        ]

    async def skipped(self, subscribers: Sequence[str], limit: int) -> list[StoredSkip]:
        """The newest events that these did not take, newest first."""
        query = (
            select(SkippedEventRow.__table__)
            .where(SkippedEventRow.subscriber.in_(subscribers))
            .order_by(SkippedEventRow.id.desc())
            .limit(limit)
        )
        return [_skip(row) for row in (await self.connection.execute(query)).mappings()]

    async def subscribe(
        self: "PluginRepository[Writes]", subscriber: str, plugin: str, position: str
    ) -> None:
        """Make the cursor, if there is none yet."""
        await self.connection.execute(
            insert(SubscriberRow)
            .values(id=subscriber, plugin=plugin, position=position)
            .on_conflict_do_nothing()
        )

    async def claim(
        self: "PluginRepository[Writes]", subscriber: str, owner: str, ttl: timedelta
    ) -> Claimed | None:
        """Take the subscriber for a while; None if another worker has it."""
        free = or_(
            SubscriberRow.owner.is_(None),
            SubscriberRow.owner == owner,
            SubscriberRow.claimed_until < NOW,
        )
        query = (
            update(SubscriberRow)
            .where(SubscriberRow.id == subscriber, free)
            .values(owner=owner, claimed_until=func.now() + _interval(ttl))
            .returning(
                SubscriberRow.position,
                SubscriberRow.attempts,
                (SubscriberRow.retry_at - func.now()).label("retry_in"),
            )
        )
        row = (await self.connection.execute(query)).first()
        if row is None:
            return None
        wait = max(row.retry_in or timedelta(0), timedelta(0))
        return Claimed(row.position, row.attempts, wait)

    async def progress(
        self: "PluginRepository[Transacts]",
        subscriber: str,
        owner: str,
        ttl: timedelta,
        done: Progress,
    ) -> bool:
        """Move the cursor and keep the claim; false if another worker has taken it over."""
        values = {
            "position": done.position,
            "delivered": SubscriberRow.delivered + done.delivered,
            "skipped": SubscriberRow.skipped + (1 if done.skipped else 0),
            "attempts": done.attempts,
            "retry_at": None if done.retry_in is None else func.now() + _interval(done.retry_in),
            "claimed_until": func.now() + _interval(ttl),
        }
        if done.delivered:
            values["delivered_at"] = NOW
        if done.delivered or done.error:
            values["error"] = done.error
        query = (
            update(SubscriberRow)
            .where(SubscriberRow.id == subscriber, SubscriberRow.owner == owner)
            .values(values)
        )
        if (await self.connection.execute(query)).rowcount == 0:
            return False
        if done.skipped is not None:
            await self._skip(subscriber, done.skipped, done)
        return True

    async def release(self: "PluginRepository[Writes]", subscriber: str, owner: str) -> None:
        """Let another worker have it at once."""
        await self.connection.execute(
            update(SubscriberRow)
            .where(SubscriberRow.id == subscriber, SubscriberRow.owner == owner)
            .values(owner=None, claimed_until=None)
        )

    async def _skip(
        self: "PluginRepository[Transacts]", subscriber: str, event: Event, done: Progress
    ) -> None:
        """Record what was skipped, the newest thousand of each subscriber."""
        await self.connection.execute(
            insert(SkippedEventRow).values(
                subscriber=subscriber,
                event_id=event.id,
                event_type=event.type.value,
                subject=event.subject,
                attempts=done.tries,
                error=done.error,
            )
        )
        newest = (
            select(SkippedEventRow.id)
            .where(SkippedEventRow.subscriber == subscriber)
            .order_by(SkippedEventRow.id.desc())
            .offset(_SKIPPED_KEPT)
            .limit(1)
        )
        await self.connection.execute(
            delete(SkippedEventRow).where(
                SkippedEventRow.subscriber == subscriber,
                SkippedEventRow.id <= newest.scalar_subquery(),
            )
        )


def _interval(value: timedelta) -> BindParameter[timedelta]:
    return bindparam(None, value, type_=Interval())


def _plugin(row: Row) -> StoredPlugin:
    return StoredPlugin(
        name=row["name"],
        package=row["package"],
        version=row["version"],
        strategies=tuple(row["strategies"]),
        channels=tuple(row["channels"]),
        problem=row["problem"],
        updated_at=row["updated_at"],
    )


def _skip(row: Row) -> StoredSkip:
    return StoredSkip(
        subscriber=row["subscriber"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        subject=row["subject"],
        attempts=row["attempts"],
        error=row["error"],
        time=row["created_at"],
    )
