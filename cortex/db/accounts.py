"""Users and their API keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from sqlalchemy import exists, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.accounts import ApiKeyRow, UserRow
from cortex.db.tables.base import NOW
from cortex.db.tables.money import BudgetRow
from cortex.domain.accounts import ApiKey, User, UserKind
from cortex.domain.errors import NotFound
from cortex.domain.money.budgets import BudgetScope
from cortex.domain.rights import Role

CHANNELS: Final = ("cortex_users", "cortex_api_keys", "cortex_sessions")
"""Told when somebody may do less, or more, than before."""

_KEYS = select(
    ApiKeyRow.id,
    UserRow.name.label("user"),
    ApiKeyRow.name,
    ApiKeyRow.prefix,
    ApiKeyRow.project,
    ApiKeyRow.scopes,
    ApiKeyRow.created_at,
    ApiKeyRow.created_by,
    ApiKeyRow.expires_at,
    ApiKeyRow.last_used_at,
    ApiKeyRow.last_used_from,
    ApiKeyRow.revoked_at,
).join(UserRow, UserRow.id == ApiKeyRow.user_id)

_USERS = select(
    UserRow.id,
    UserRow.name,
    UserRow.kind,
    UserRow.role,
    UserRow.active,
    UserRow.email,
    UserRow.created_at,
    UserRow.updated_at,
)

_HAS_BUDGET: Final = exists().where(
    BudgetRow.scope == BudgetScope.KEY.value, BudgetRow.scope_value == ApiKeyRow.id
)

# A use that came before the one that is written already is dropped.
_USED: Final = text("""
UPDATE api_keys k SET last_used_at = u.at, last_used_from = u.source
FROM jsonb_to_recordset(CAST(:uses AS jsonb)) AS u(id text, at timestamptz, source text)
WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at)
""")


@dataclass(frozen=True)
class KeyHolder:
    """Whose key it is, and whether it opens anything."""

    key_id: str
    prefix: str
    project: str | None
    scopes: tuple[str, ...]
    budget: bool
    expires_at: datetime | None
    revoked_at: datetime | None
    name: str
    role: Role
    active: bool


@dataclass(frozen=True)
class Credentials:
    """A user, and what is stored of their password; None: they have none."""

    user: User
    password_hash: str | None


@dataclass(frozen=True)
class KeyUse:
    at: datetime
    source: str


class AccountRepository(Repository[Access]):
    async def add_user(
        self: "AccountRepository[Writes]",
        user_id: str,
        name: str,
        kind: UserKind,
        role: Role,
        *,
        email: str = "",
    ) -> bool:
        """Add a user; False if there is one of this name."""
        statement = (
            upsert(UserRow)
            .values(id=user_id, name=name, kind=kind, role=role, email=email)
            .on_conflict_do_nothing(index_elements=["name"])
            .returning(UserRow.id)
        )
        return (await self.connection.execute(statement)).scalar_one_or_none() is not None

    async def users(self) -> list[User]:
        """Every user, by name."""
        rows = await self.connection.execute(_USERS.order_by(UserRow.name))
        return [_user(row) for row in rows.mappings()]

    async def find_user(self, name: str) -> User | None:
        """The user of this name, if there is one."""
        query = _USERS.where(UserRow.name == name)
        row = (await self.connection.execute(query)).mappings().first()
        return None if row is None else _user(row)

    async def user(self, name: str) -> User:
        """One user.

        Raises:
            NotFound: there is none of this name.
        """
        user = await self.find_user(name)
        if user is None:
            raise _no_user(name)
        return user

    async def lock_user(self: "AccountRepository[Transacts]", name: str) -> User:
        """One user, whom nobody else changes until the transaction ends.

        Raises:
            NotFound: there is none of this name.
        """
        query = select(UserRow.id).where(UserRow.name == name).with_for_update()
        if (await self.connection.execute(query)).first() is None:
            raise _no_user(name)
        return await self.user(name)

    async def change_user(
        self: "AccountRepository[Writes]", user_id: str, role: Role, active: bool, email: str
    ) -> None:
        values = {"role": role, "active": active, "email": email, "updated_at": NOW}
        await self.connection.execute(update(UserRow).where(UserRow.id == user_id).values(**values))

    async def credentials(self, name: str, *, lock: bool = False) -> Credentials | None:
        """A user with what is stored of their password; None: there is none of this name."""
        query = _USERS.add_columns(UserRow.password_hash).where(UserRow.name == name)
        if lock:
            query = query.with_for_update()
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            return None
        given = dict(row)
        return Credentials(password_hash=given.pop("password_hash"), user=User(**given))

    async def set_password(self: "AccountRepository[Writes]", user_id: str, hash: str) -> None:
        """Store another password."""
        values = {"password_hash": hash, "password_changed_at": NOW}
        await self.connection.execute(update(UserRow).where(UserRow.id == user_id).values(**values))

    async def renew_hash(
        self: "AccountRepository[Writes]", user_id: str, old: str, new: str
    ) -> None:
        """Store the same password at other costs, unless it was changed meanwhile."""
        statement = (
            update(UserRow)
            .where(UserRow.id == user_id, UserRow.password_hash == old)
            .values(password_hash=new)
        )
        await self.connection.execute(statement)

    async def add_key(
        self: "AccountRepository[Writes]",
        key_id: str,
        user: User,
        *,
        name: str,
        prefix: str,
        hash: str,
        scopes: Sequence[str],
        project: str | None,
        expires_at: datetime | None,
        created_by: str,
    ) -> None:
        await self.connection.execute(
            insert(ApiKeyRow).values(
                id=key_id,
                user_id=user.id,
                name=name,
                prefix=prefix,
                hash=hash,
                scopes=list(scopes),
                project=project,
                expires_at=expires_at,
                created_by=created_by,
            )
        )

    async def keys(self, user: str | None) -> list[ApiKey]:
        """The keys of a user, or of all; the newest first, revoked ones too."""
        query = _KEYS.order_by(ApiKeyRow.id.desc())
        if user is not None:
            query = query.where(UserRow.name == user)
        return [_key(row) for row in (await self.connection.execute(query)).mappings()]

    async def key(self, key_id: str) -> ApiKey:
        """One key.

        Raises:
            NotFound: there is none with this id.
        """
        query = _KEYS.where(ApiKeyRow.id == key_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no API key `{key_id[:60]}`")
        return _key(row)

    async def revoke(self: "AccountRepository[Writes]", key_id: str) -> bool:
        """Let a key open nothing any more; False if it did not already."""
        statement = (
            update(ApiKeyRow)
            .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
            .values(revoked_at=NOW)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def holder(self, hash: str) -> KeyHolder | None:
        """Whose key it is, also one that opens nothing any more; None: it is not known."""
        query = (
            select(
                ApiKeyRow.id.label("key_id"),
                ApiKeyRow.prefix,
                ApiKeyRow.project,
                ApiKeyRow.scopes,
                _HAS_BUDGET.label("budget"),
                ApiKeyRow.expires_at,
                ApiKeyRow.revoked_at,
                UserRow.name,
                UserRow.role,
                UserRow.active,
            )
            .join(UserRow, UserRow.id == ApiKeyRow.user_id)
            .where(ApiKeyRow.hash == hash)
        )
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            return None
        given = {**row, "scopes": tuple(row["scopes"]), "role": Role(row["role"])}
        return KeyHolder(**given)

    async def used(self: "AccountRepository[Writes]", uses: Mapping[str, KeyUse]) -> None:
        """Write down when keys were used last."""
        given = [
            {"id": key_id, "at": use.at.isoformat(), "source": use.source}
            for key_id, use in uses.items()
        ]
        await self.connection.execute(_USED, {"uses": orjson.dumps(given).decode()})


def _no_user(name: str) -> NotFound:
    return NotFound(f"there is no user `{name[:60]}`")


def _user(row: Row) -> User:
    return User.model_validate(dict(row))


def _key(row: Row) -> ApiKey:
    return ApiKey.model_validate(dict(row))
