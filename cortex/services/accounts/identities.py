"""Which user it is whom another service knows: linked, added, and given the role it says."""

from dataclasses import dataclass

from cortex.db.engine import Transaction
from cortex.domain.accounts import User, UserKind
from cortex.domain.errors import Conflict
from cortex.domain.login_errors import SsoRefused
from cortex.domain.rights import Principal, Role
from cortex.domain.sso import Identity, OidcProvider, role_of, wanted_name
from cortex.schemas.accounts import UserCreate
from cortex.services.accounts.users import Users, change_in


@dataclass(frozen=True)
class Settled:
    """A user, and whether they were changed by their login."""

    user: User
    changed: bool


class Identities:
    """Finds users by issuer and subject; by name or e-mail address only where a setting says so."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def settle(
        self, tx: Transaction, name: str, provider: OidcProvider, identity: Identity, by: Principal
    ) -> Settled:
        """The user, in the transaction of the login.

        Args:
            tx: That transaction.
            name: Of the service in the settings.
            provider: What the settings say of it.
            identity: Whom the service says it is.
            by: Nobody yet, from an address.

        Raises:
            SsoRefused: they may not come in; says why.
        """
        via = f"oidc:{name}"
        role = role_of(provider, identity.claims)
        if role is None and provider.roles_claim is not None:
            raise SsoRefused(
                f"`{name}` gives none of the roles that this server knows; an admin of either may "
                "help",
                name=via,
            )
        known = await tx.sso.user_of(identity.issuer, identity.subject)
        if known is None:
            user, added = await self._first_time(tx, via, provider, identity, role, by)
        else:
            user, added = await tx.accounts.lock_user(known), False
        if not user.active:
            raise SsoRefused(f"`{user.name}` is switched off", name=user.name)
        if user.kind is UserKind.SERVICE:
            raise SsoRefused(f"`{user.name}` is a service: it has keys only", name=user.name)
        before = user.role
        if provider.roles_claim is not None and role is not None:
            owner = by.model_copy(update={"name": user.name})
            user = await change_in(tx, user, role, user.active, owner, via=via)
        await tx.sso.came(identity.issuer, identity.subject, identity.email)
        return Settled(user, added or user.role is not before)

    async def _first_time(
        self,
        tx: Transaction,
        via: str,
        provider: OidcProvider,
        identity: Identity,
        role: Role | None,
        by: Principal,
    ) -> tuple[User, bool]:
        """Somebody whom the service has not sent before, and whether they were added."""
        wanted = wanted_name(provider, identity)
        existing = await self._existing(tx, via, provider, identity, wanted)
        if existing is not None:
            user, added = await tx.accounts.lock_user(existing), False
            if await tx.sso.is_known_to(identity.issuer, user.id):
                raise SsoRefused(f"`{via}` knows `{user.name}` as somebody else", name=user.name)
        else:
            user, added = await self._added(tx, via, provider, wanted, role, by), True
        if not await tx.sso.link(identity.issuer, identity.subject, user.id):
            raise SsoRefused("another login of yours came first; log in again", name=user.name)
        owner = by.model_copy(update={"name": user.name})
        await tx.audit.add(owner, "user.link", user.name, via=via, issuer_subject=identity.subject)
        return user, added

    async def _existing(
        self,
        tx: Transaction,
        via: str,
        provider: OidcProvider,
        identity: Identity,
        wanted: str | None,
    ) -> str | None:
        if provider.link_by == "name" and wanted is not None:
            found = await tx.accounts.find_user(wanted)
            return None if found is None else found.name
        if provider.link_by == "email" and identity.email is not None:
            names = await tx.sso.users_by_email(identity.email, but_of=identity.issuer)
            if len(names) > 1:
                raise SsoRefused("several users have this e-mail address", name=via)
            return names[0] if names else None
        return None

    async def _added(
        self,
        tx: Transaction,
        via: str,
        provider: OidcProvider,
        wanted: str | None,
        role: Role | None,
        by: Principal,
    ) -> User:
        if not provider.create_users:
            raise SsoRefused(f"nobody here is known to `{via}` so; ask an admin", name=via)
        if wanted is None:
            raise SsoRefused(
                f"`{provider.name_claim}` gives no name that a user can have", name=via
            )
        if role is None:
            raise SsoRefused("the settings give new users no role (`default_role`)", name=via)
        owner = by.model_copy(update={"name": wanted})
        try:
            new = UserCreate(name=wanted, role=role)
            return await self._users.add_in(tx, new, owner, via=via)
        except Conflict as error:
            raise SsoRefused(
                f"you would be `{wanted}` here, but {error.detail}; ask an admin", name=wanted
            ) from None
