"""Whether a password is somebody's, slowed down where too many are wrong."""

from cortex.db.accounts import Credentials
from cortex.db.engine import Database
from cortex.domain.accounts import UserKind
from cortex.domain.errors import Conflict
from cortex.domain.login_errors import LoginRefused, WrongPassword
from cortex.domain.rights import Action, Principal
from cortex.services.accounts.lockout import Lockout
from cortex.services.accounts.passwords import Checked, Passwords


class PasswordCheck:
    """Checks passwords of those who log in, and once more of those who have."""

    def __init__(self, database: Database, passwords: Passwords, lockout: Lockout) -> None:
        self._database = database
        self._passwords = passwords
        self._lockout = lockout

    async def of(self, name: str, password: str, by: Principal) -> Credentials:
        """The user whose password it is, at today's costs.

        It counts as a failure until `succeeded` is called. An unknown user, one without a password
        and one who is switched off are refused like a wrong password, and after the same time.

        Raises:
            LoginRefused: name or password is wrong.
            LockedOut: too many have failed.
            ServiceUnavailable: too many passwords are being checked.
        """
        await self._lockout.begin(name, by)
        async with self._database.reading() as tx:
            credentials = await tx.accounts.credentials(name)
        usable = credentials is not None and credentials.user.active
        stored = credentials.password_hash if credentials is not None and usable else None
        checked = await self._passwords.check(stored, password)
        if credentials is None or not checked.right:
            raise refused(name)
        return await self._renewed(credentials, checked)

    async def begin(self, name: str, by: Principal) -> None:
        """Something else than a password is tried: it counts in the same way.

        Raises:
            LockedOut: too many have failed.
        """
        await self._lockout.begin(name, by)

    async def undecided(self, name: str, by: Principal) -> None:
        """The password was right, and something else is missing: it is no failure."""
        await self._lockout.take_back(name, by)

    async def succeeded(self, name: str, by: Principal) -> None:
        """Whoever was checked may go on: the failures of the account are forgotten."""
        await self._lockout.succeeded(name, by)

    async def own(self, password: str, by: Principal) -> Credentials:
        """Whoever asks, if it is their password.

        Raises:
            Conflict: they have none.
            WrongPassword: it is another one.
            LockedOut, ServiceUnavailable: see `of`.
        """
        async with self._database.reading() as tx:
            stored = await tx.accounts.credentials(by.name)
        if stored is None or stored.password_hash is None:
            raise Conflict(f"`{by.name}` has no password: {_why_none(stored)}")
        try:
            credentials = await self.of(by.name, password, by)
        except LoginRefused:
            raise WrongPassword(
                f"this is not the password of `{by.name}`", action=Action.ACCOUNT_CHANGE
            ) from None
        await self.succeeded(by.name, by)
        return credentials

    async def _renewed(self, credentials: Credentials, checked: Checked) -> Credentials:
        old, new = credentials.password_hash, checked.renewed
        if old is None or new is None:
            return credentials
        async with self._database.statement() as tx:
            await tx.accounts.renew_hash(credentials.user.id, old, new)
        return Credentials(credentials.user, new)


def refused(name: str) -> LoginRefused:
    """That a login is refused, never saying why."""
    return LoginRefused("the name or the password is wrong", name=name)


def _why_none(stored: Credentials | None) -> str:
    if stored is None:
        return "the key is in the settings of the server"
    if stored.user.kind == UserKind.SERVICE:
        return "a service has keys only"
    return "an admin makes a link to set one (`cortex users invite`)"
