"""Programs that wait for their user to log in with a browser."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.accounts import UserRow
from cortex.db.tables.base import NOW
from cortex.db.tables.devices import DeviceLoginRow
from cortex.domain.device import DeviceState

_COLUMNS = (
    DeviceLoginRow.id,
    DeviceLoginRow.code,
    DeviceLoginRow.client,
    DeviceLoginRow.source,
    DeviceLoginRow.state,
    DeviceLoginRow.interval,
    DeviceLoginRow.asked_at,
    DeviceLoginRow.via,
    DeviceLoginRow.browser,
    DeviceLoginRow.created_at,
    (DeviceLoginRow.expires_at <= func.now()).label("expired"),
    func.now().label("now"),
    UserRow.name.label("user"),
)


@dataclass(frozen=True)
class DeviceLogin:
    """A program that waits.

    Attributes:
        client: What it calls itself.
        interval: Seconds that it waits between two questions.
        asked_at: When it has asked last.
        user: Who has logged in for it, be it approved or not; None: nobody yet.
        via: How: `password`, or `oidc:<name>`.
        browser: Hash of what the browser keeps in which they did.
        now: The database's time.
    """

    id: str
    code: str
    client: str
    source: str
    state: DeviceState
    interval: float
    asked_at: datetime | None
    via: str
    browser: str | None
    created_at: datetime
    expired: bool
    now: datetime
    user: str | None


class DeviceRepository(Repository[Access]):
    async def add(
        self: "DeviceRepository[Writes]",
        login_id: str,
        *,
        device: str,
        code: str,
        client: str,
        source: str,
        interval: float,
        lifetime: timedelta,
    ) -> None:
        """A program begins to wait; `device` is a hash."""
        await self.connection.execute(
            insert(DeviceLoginRow).values(
                id=login_id,
                device=device,
                code=code,
                client=client,
                source=source,
                interval=interval,
                expires_at=func.now() + lifetime,
            )
        )

    async def waiting(self, source: str) -> int:
        """How many wait that were begun from an address."""
        query = select(func.count()).where(
            DeviceLoginRow.source == source,
            DeviceLoginRow.state == DeviceState.PENDING,
            DeviceLoginRow.expires_at > func.now(),
        )
        return int((await self.connection.execute(query)).scalar_one())

    async def by_device(self: "DeviceRepository[Transacts]", device: str) -> DeviceLogin | None:
        """The one of this device code (hash), locked; None: it is not known."""
        return await self._one(DeviceLoginRow.device == device, lock=True)

    async def by_code(self, code: str, *, lock: bool = False) -> DeviceLogin | None:
        """The one of this user code; None: it is not known."""
        return await self._one(DeviceLoginRow.code == code, lock=lock)

    async def by_id(self, login_id: str, *, lock: bool = False) -> DeviceLogin | None:
        """The one with this id; None: it is not known, or not any more."""
        return await self._one(DeviceLoginRow.id == login_id, lock=lock)

    async def asked(self: "DeviceRepository[Writes]", login_id: str, *, interval: float) -> None:
        """The program has asked, and waits so long from now on."""
        await self._set(login_id, asked_at=NOW, interval=interval)

    async def name(
        self: "DeviceRepository[Writes]", login_id: str, *, user_id: str, via: str, browser: str
    ) -> None:
        """Somebody has logged in for it, in a browser that keeps something of this hash."""
        await self._set(login_id, user_id=user_id, via=via, browser=browser)

    async def put(self: "DeviceRepository[Writes]", login_id: str, state: DeviceState) -> None:
        """It is in another state now."""
        await self._set(login_id, state=state)

    async def expire(self: "DeviceRepository[Writes]", retention: timedelta) -> int:
        """Delete those whose time was up so long ago."""
        statement = delete(DeviceLoginRow).where(DeviceLoginRow.expires_at < func.now() - retention)
        return int((await self.connection.execute(statement)).rowcount)

    async def _set(self: "DeviceRepository[Writes]", login_id: str, **values: Any) -> None:
        statement = update(DeviceLoginRow).where(DeviceLoginRow.id == login_id).values(**values)
        await self.connection.execute(statement)

    async def _one(self, condition: Any, *, lock: bool) -> DeviceLogin | None:
        joined = select(*_COLUMNS).join(UserRow, UserRow.id == DeviceLoginRow.user_id, isouter=True)
        query = joined.where(condition)
        if lock:
            query = query.with_for_update(of=DeviceLoginRow)
        row = (await self.connection.execute(query)).mappings().first()
        return None if row is None else DeviceLogin(**{**row, "state": DeviceState(row["state"])})
