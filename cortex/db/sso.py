"""Logins by other services: whom they know, and what is under way."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.accounts import UserRow
from cortex.db.tables.base import NOW
from cortex.db.tables.sso import IdentityRow, SsoLoginRow


@dataclass(frozen=True)
class StartedLogin:
    """A login that came back from a service.

    Attributes:
        browser: Hash of what the browser keeps that it was begun with.
        device_id: The device login that it is for; None: it is for itself.
    """

    provider: str
    browser: str
    device_id: str | None
    expired: bool


class SsoRepository(Repository[Access]):
    async def begin(
        self: "SsoRepository[Writes]",
        hash: str,
        login: StartedLogin,
        *,
        source: str,
        lifetime: timedelta,
    ) -> None:
        """Note a login that somebody is sent away with; `hash` is that of its `state`."""
        await self.connection.execute(
            insert(SsoLoginRow).values(
                hash=hash,
                provider=login.provider,
                browser=login.browser,
                source=source,
                device_id=login.device_id,
                expires_at=func.now() + lifetime,
            )
        )

    async def under_way(self, source: str) -> int:
        """How many were begun from an address and have not come back in time yet."""
        query = select(func.count()).where(
            SsoLoginRow.source == source, SsoLoginRow.expires_at > func.now()
        )
        return int((await self.connection.execute(query)).scalar_one())

    async def take(self: "SsoRepository[Writes]", hash: str) -> StartedLogin | None:
        """A login that comes back, once; None: there is none such, or it came back before."""
        statement = (
            delete(SsoLoginRow)
            .where(SsoLoginRow.hash == hash)
            .returning(
                SsoLoginRow.provider,
                SsoLoginRow.browser,
                SsoLoginRow.device_id,
                SsoLoginRow.expires_at <= func.now(),
            )
        )
        row = (await self.connection.execute(statement)).first()
        return None if row is None else StartedLogin(*row)

    async def user_of(self, issuer: str, subject: str) -> str | None:
        """Name of the user whom a service knows so; None: nobody yet."""
        query = (
            select(UserRow.name)
            .join(IdentityRow, IdentityRow.user_id == UserRow.id)
            .where(IdentityRow.issuer == issuer, IdentityRow.subject == subject)
        )
        return (await self.connection.execute(query)).scalar_one_or_none()

    async def users_by_email(self, email: str, *, but_of: str) -> list[str]:
        """Names of those whose address another issuer than `but_of` has verified."""
        query = (
            select(UserRow.name)
            .join(IdentityRow, IdentityRow.user_id == UserRow.id)
            .where(IdentityRow.email == email, IdentityRow.issuer != but_of)
            .distinct()
        )
        return list((await self.connection.execute(query)).scalars())

    async def is_known_to(self, issuer: str, user_id: str) -> bool:
        """Whether a service knows a user already."""
        query = select(func.count()).where(
            IdentityRow.issuer == issuer, IdentityRow.user_id == user_id
        )
        return bool((await self.connection.execute(query)).scalar_one())

    async def link(
        self: "SsoRepository[Transacts]", issuer: str, subject: str, user_id: str
    ) -> bool:
        """A service knows a user so from now on; False if it knows somebody so already."""
        statement = (
            upsert(IdentityRow)
            .values(issuer=issuer, subject=subject, user_id=user_id)
            .on_conflict_do_nothing()
            .returning(IdentityRow.user_id)
        )
        return (await self.connection.execute(statement)).first() is not None

    async def came(
        self: "SsoRepository[Writes]", issuer: str, subject: str, email: str | None
    ) -> None:
        """Note a login, and the address that is verified today."""
        await self.connection.execute(
            update(IdentityRow)
            .where(IdentityRow.issuer == issuer, IdentityRow.subject == subject)
            .values(email=email, last_login_at=NOW)
        )

    async def expire(self: "SsoRepository[Writes]", retention: timedelta) -> int:
        """Delete logins that never came back."""
        statement = delete(SsoLoginRow).where(SsoLoginRow.expires_at < func.now() - retention)
        return int((await self.connection.execute(statement)).rowcount)
