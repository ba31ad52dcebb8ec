"""The part of the asynchronous client that is about users and API keys."""

from collections.abc import Sequence

from cortex.client._routes import accounts as routes
from cortex.client._routes.call import IfMatch, only_if
from cortex.client.transport import AsyncTransport
from cortex.domain.accounts import ApiKey, User, UserKind
from cortex.domain.rights import Role
from cortex.schemas.accounts import KeyCreated


class AsyncAccountCalls:
    """What `AsyncCortex` can do with users and API keys."""

    _transport: AsyncTransport

    async def users(self) -> tuple[User, ...]:
        """Every user, by name; not those who have their key in the settings of the server."""
        return (await self._transport.call(routes.users())).items

    async def user(self, name: str) -> User:
        """One user."""
        return await self._transport.call(routes.user(name))

    async def add_user(
        self, name: str, role: Role, kind: UserKind = UserKind.PERSON, *, email: str = ""
    ) -> User:
        """Add a person or a service; `email` is where links and notices are sent."""
        return await self._transport.call(routes.add_user(name, role, kind, email))

    async def update_user(
        self,
        name: str,
        *,
        role: Role | None = None,
        active: bool | None = None,
        email: str | None = None,
        if_match: IfMatch = None,
    ) -> User:
        """Change the role or address, or switch a user off or on; what is None stays as it is.

        Args:
            name: Of the user.
            role: The new one.
            active: Whether the user may do anything.
            email: Where links and notices are sent; empty: nowhere.
            if_match: Only at this version; `LAST_SEEN`: as this client read it last.

        Raises:
            PreconditionFailed: others have changed it meanwhile.
        """
        call = routes.update_user(name, role, active, email)
        return await self._transport.call(only_if(call, if_match))

    async def keys(self, user: str | None = None) -> tuple[ApiKey, ...]:
        """API keys, the newest first: one's own, for admins everybody's or those of a user."""
        return (await self._transport.call(routes.keys(user))).items

    async def create_key(
        self,
        name: str,
        *,
        user: str | None = None,
        scopes: Sequence[str] = (),
        project: str | None = None,
        expires_in: str | None = None,
        budget: str | None = None,
    ) -> KeyCreated:
        """Make an API key; the answer is the only place where its text stands.

        Args:
            name: What it is for.
            user: Whose it is; None: one's own.
            scopes: What it may do at most, such as `jobs:read`, `jobs:*` or `read`; none: all
                that the role of its user allows.
            project: The only one in which it opens anything; None: wherever its user may go.
            expires_in: Such as `90d`; None: never.
            budget: What all that is submitted with it may cost together, such as `5 USD`; None:
                only the budgets that cover its jobs anyway limit them.
        """
        return await self._transport.call(
            routes.create_key(name, user, scopes, project, expires_in, budget)
        )

    async def revoke_key(self, key_id: str) -> None:
        """Let a key open nothing any more."""
        return await self._transport.call(routes.revoke_key(key_id))
