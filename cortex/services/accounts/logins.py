"""Logging in, and changing one's password."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from cortex.db.accounts import Credentials
from cortex.db.engine import Database, Transaction
from cortex.domain.accounts import User
from cortex.domain.errors import Conflict
from cortex.domain.login_errors import SecondFactorNeeded
from cortex.domain.rights import Principal
from cortex.domain.sessions import RefreshToken
from cortex.schemas.auth import LoggedIn, LoginRequest, PasswordChange
from cortex.schemas.credentials import PasskeyAssertion
from cortex.services.accounts.passkeys import Signed
from cortex.services.accounts.password_check import PasswordCheck, refused
from cortex.services.accounts.passwords import Passwords
from cortex.services.accounts.second_factors import SecondFactors
from cortex.services.accounts.sessions import Sessions, is_session

T = TypeVar("T")


class Logins:
    """Lets people in by their passwords, and lets them change those."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        check: PasswordCheck,
        second_factors: SecondFactors,
        sessions: Sessions,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._check = check
        self._sessions = sessions
        self._second_factors = second_factors

    async def login(self, wanted: LoginRequest, by: Principal, client: str) -> LoggedIn:
        """Open a session.

        Args:
            wanted: Name and password, and the code of a second factor.
            by: Nobody yet, from an address.
            client: What the program that asks calls itself.

        Raises:
            LoginRefused: name or password is wrong.
            SecondFactorNeeded: there is no code, or it is wrong.
            LockedOut: too many have failed.
            ServiceUnavailable: too many passwords are being checked, or tokens cannot be signed.
        """
        await self._sessions.prepare()

        async def opened(tx: Transaction, user: User) -> tuple[str, RefreshToken]:
            session_id, refresh = await self._sessions.opened(tx, user, by, client)
            owner = _as(user, by, session_id)
            await tx.audit.add(owner, "session.login", session_id, client=client[:200])
            return session_id, refresh

        return await self._sessions.logged_in(*await self.identified(wanted, by, opened))

    async def identified(
        self,
        wanted: LoginRequest,
        by: Principal,
        then: Callable[[Transaction, User], Awaitable[T]],
    ) -> T:
        """What `then` makes of the user whose password, and code, it is, in one transaction.

        Raises:
            LoginRefused, SecondFactorNeeded, LockedOut, ServiceUnavailable: see `login`.
        """
        credentials = await self._check.of(wanted.name, wanted.password, by)
        signed = (
            None if wanted.passkey is None else await self._second_factors.signed(wanted.passkey)
        )
        try:
            made = await self._made(wanted, credentials, signed, by, then)
        except SecondFactorNeeded:
            if wanted.code is None and signed is None:
                await self._check.undecided(wanted.name, by)
            raise
        await self._check.succeeded(wanted.name, by)
        return made

    async def by_passkey(
        self,
        name: str,
        credential: PasskeyAssertion,
        by: Principal,
        then: Callable[[Transaction, User], Awaitable[T]],
    ) -> T:
        """The same for a passkey that has signed a challenge, which only the password gives.

        Raises:
            LoginRefused: there is no such user, or they are switched off.
            SecondFactorNeeded: it is not one of theirs, or the challenge is not good any more.
            LockedOut: too many have failed.
        """
        await self._check.begin(name, by)
        signed = await self._second_factors.signed(credential)
        async with self._database.transaction() as tx:
            now = await tx.accounts.credentials(name, lock=True)
            if now is None or not now.user.active:
                raise refused(name)
            await self._second_factors.require_passkey(tx, now.user, signed)
            made = await then(tx, now.user)
        await self._check.succeeded(name, by)
        return made

    async def _made(
        self,
        wanted: LoginRequest,
        credentials: Credentials,
        signed: Signed | None,
        by: Principal,
        then: Callable[[Transaction, User], Awaitable[T]],
    ) -> T:
        async with self._database.transaction() as tx:
            now = await tx.accounts.credentials(wanted.name, lock=True)
            # It may have been changed while the password was checked.
            if now is None or now.password_hash != credentials.password_hash or not now.user.active:
                raise refused(wanted.name)
            await self._second_factors.require(tx, now.user, wanted.code, signed, by)
            return await then(tx, now.user)

    async def change_password(self, change: PasswordChange, by: Principal) -> None:
        """Change one's own password; all other sessions end, and links to reset it are void.

        Raises:
            Conflict: whoever asks has no password.
            WrongPassword: the old one is.
            LockedOut: too many were wrong.
            InvalidRequest: the new one is too weak; says why.
        """
        credentials = await self._check.own(change.old_password, by)
        await self._passwords.require_strong(change.new_password, by.name, field="new_password")
        hashed = await self._passwords.hashed(change.new_password)
        async with self._database.transaction() as tx:
            now = await tx.accounts.credentials(by.name, lock=True)
            if now is None or now.password_hash != credentials.password_hash:
                raise Conflict("the password was changed by somebody else meanwhile")
            await tx.accounts.set_password(now.user.id, hashed)
            await tx.passkeys.void_challenges(now.user.id)
            await tx.links.void(now.user.id)
            own = by.credential if is_session(by) else ""
            ended = await tx.sessions.end_others(now.user.id, "password", but=own)
            await tx.audit.add(by, "user.password", by.name, sessions_ended=ended)


def _as(user: User, by: Principal, session_id: str) -> Principal:
    return by.model_copy(update={"name": user.name, "role": user.role, "credential": session_id})
