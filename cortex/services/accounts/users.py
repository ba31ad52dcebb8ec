"""Users: made, changed and shown. Nobody is removed: their jobs and bills have their name."""

from typing import Any

from cortex.db.engine import Database, Transaction
from cortex.domain.accounts import User
from cortex.domain.audit import changed_values
from cortex.domain.errors import Conflict
from cortex.domain.ids import new_id
from cortex.domain.rights import LOCAL_ADMIN, Principal, Role
from cortex.domain.versions import ANY_VERSION, Expected, version_of
from cortex.schemas.accounts import UserCreate, UserPage, UserUpdate
from cortex.services.webhooks.vouching import disown
from cortex.services.webhooks.webhooks import webhook_reach
from cortex.settings import ApiSettings


class Users:
    """Changes and shows users. Who may is the business of the route."""

    def __init__(self, database: Database, settings: ApiSettings) -> None:
        self._database = database
        self._configured = frozenset(settings.keys)

    async def all(self) -> UserPage:
        """Every user, by name; not those who have their key in the settings."""
        async with self._database.reading() as tx:
            return UserPage(items=tuple(await tx.accounts.users()))

    async def get(self, name: str) -> User:
        """One user.

        Raises:
            NotFound: there is none of this name.
        """
        async with self._database.reading() as tx:
            return await tx.accounts.user(name)

    async def add(self, wanted: UserCreate, by: Principal) -> User:
        """Add a user.

        Raises:
            Conflict: there is one of this name, here or in the settings, or a project.
        """
        async with self._database.transaction() as tx:
            return await self.add_in(tx, wanted, by)

    async def add_in(self, tx: Transaction, wanted: UserCreate, by: Principal, **told: Any) -> User:
        """The same in a transaction; `told` goes into the audit log."""
        if wanted.name == LOCAL_ADMIN:
            raise Conflict(f"`{LOCAL_ADMIN}` is the owner of the plain `api.key`")
        if wanted.name in self._configured:
            raise Conflict(
                f"`{wanted.name}` has a key in the settings of the server "
                f"(`[api.keys.{wanted.name}]`); take another name, or remove that key first"
            )
        await tx.projects.lock_names()
        if await tx.projects.find(wanted.name) is not None:
            raise Conflict(f"`{wanted.name}` is the name of a project")
        added = await tx.accounts.add_user(
            new_id("usr"), wanted.name, wanted.kind, wanted.role, email=wanted.email
        )
        if not added:
            raise Conflict(f"there is a user `{wanted.name}` already")
        after = wanted.model_dump(mode="json")
        await tx.audit.add(by, "user.create", wanted.name, before={}, after=after, **told)
        return await tx.accounts.user(wanted.name)

    async def update(
        self, name: str, change: UserUpdate, by: Principal, expected: Expected = ANY_VERSION
    ) -> User:
        """Change role, address, or whether they may do anything at all; it holds at once.

        Raises:
            NotFound: there is none of this name.
            PreconditionFailed: the user is not at the expected version.
        """
        async with self._database.transaction() as tx:
            user = await tx.accounts.lock_user(name)
            expected.require(user_version(user), f"user `{name}`")
            role = user.role if change.role is None else change.role
            active = user.active if change.active is None else change.active
            return await change_in(tx, user, role, active, by, email=change.email)


async def change_in(
    tx: Transaction,
    user: User,
    role: Role,
    active: bool,
    by: Principal,
    *,
    email: str | None = None,
    **told: Any,
) -> User:
    """Change a user in a transaction that has locked them; `told` goes into the audit log."""
    email = user.email if email is None else email
    old, new = changed_values(
        {"role": user.role, "active": user.active, "email": user.email},
        {"role": role, "active": active, "email": email},
    )
    if new:
        await tx.accounts.change_user(user.id, role, active, email)
        changed = await _narrow_webhooks(tx, user.name, role, active)
        more: dict[str, Any] = {"webhooks": changed} if changed else {}
        await tx.audit.add(by, "user.update", user.name, before=old, after=new, **more, **told)
    return await tx.accounts.user(user.name)


def user_version(user: User) -> str:
    """The version of what can be changed about a user."""
    return version_of({"role": user.role, "active": user.active, "email": user.email})


async def _narrow_webhooks(tx: Transaction, name: str, role: Role, active: bool) -> list[str]:
    """What somebody may not see any more is not sent to their webhooks either; which it changed."""
    reach = webhook_reach(role) if active else None
    why = f"the role `{role}` has none" if active else "who is switched off"
    await tx.webhooks.lock_of(name)
    changed = await tx.webhooks.narrow(name, reach, f"it is of `{name}`: {why}")
    memberships = await tx.projects.memberships(name)
    now = Principal(name=name, role=role, memberships=memberships) if active else None
    why = f"has the role `{role}` now" if active else "is switched off"
    return [*changed, *await disown(tx, name, now, why)]
