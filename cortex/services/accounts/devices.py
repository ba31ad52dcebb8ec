"""Logging in a program by a browser elsewhere: begun, approved there, and taken once.

Who approves must have logged in for this very program, in this very browser, just before: a login
that is open in a browser approves nothing, so a link alone lets nobody in.
"""

import hmac
from datetime import timedelta

from cortex.db.devices import DeviceLogin
from cortex.db.engine import Database, Transaction
from cortex.domain.accounts import User
from cortex.domain.audit import Outcome
from cortex.domain.device import (
    DeviceCodes,
    DeviceRules,
    DeviceState,
    code_hash,
    read_user_code,
    slowed,
)
from cortex.domain.errors import NotFound, TooManyRequests
from cortex.domain.ids import new_id
from cortex.domain.lockout import network_of
from cortex.domain.login_errors import (
    AccessDenied,
    AuthorizationPending,
    DeviceError,
    ExpiredToken,
    NotLoggedIn,
    SlowDown,
)
from cortex.domain.rights import Principal
from cortex.domain.sessions import RefreshToken
from cortex.schemas.auth import LoggedIn
from cortex.schemas.sso import DeviceLoginStarted
from cortex.services.accounts.lockout import Lockout
from cortex.services.accounts.sessions import Sessions

_MOST_WAITING = 50
_EARLY = timedelta(milliseconds=50)
"""A question that comes so much too soon is no offence: clocks differ."""


class DeviceLogins:
    """Programs that wait for their user."""

    def __init__(
        self, database: Database, sessions: Sessions, lockout: Lockout, rules: DeviceRules
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._lockout = lockout
        self._rules = rules

    async def start(self, client: str, page: str, by: Principal) -> DeviceLoginStarted:
        """A program begins to wait.

        Args:
            client: What it calls itself.
            page: Address of the page where its user logs in.
            by: Nobody yet, from an address.

        Raises:
            TooManyRequests: too many wait that were begun from this address.
            ServiceUnavailable: sessions cannot be opened.
        """
        await self._sessions.prepare()
        codes, source = DeviceCodes.make(), network_of(by.source)
        async with self._database.transaction() as tx:
            if await tx.devices.waiting(source) >= _MOST_WAITING:
                raise TooManyRequests(f"{_MOST_WAITING} logins from `{source}` wait already")
            await tx.devices.add(
                new_id("dvc"),
                device=code_hash(codes.device_code),
                code=codes.user_code,
                client=client,
                source=source,
                interval=self._rules.interval.total_seconds(),
                lifetime=self._rules.lifetime,
            )
        return DeviceLoginStarted(
            device_code=codes.device_code,
            user_code=codes.user_code,
            verification_uri=page,
            verification_uri_complete=f"{page}?user_code={codes.user_code}",
            expires_in=self._rules.lifetime.total_seconds(),
            interval=self._rules.interval.total_seconds(),
        )

    async def taken(self, device_code: str, by: Principal, client: str) -> LoggedIn:
        """The session of a program whose user has approved it; once.

        Raises:
            AuthorizationPending: nobody has yet: ask again after the interval.
            SlowDown: the same, and it asks too often; the interval is 5 s longer now.
            AccessDenied: its user has denied it.
            ExpiredToken: it is not known, was taken, or its time is up.
        """
        async with self._database.transaction() as tx:
            login = await tx.devices.by_device(code_hash(device_code))
            opened = await self._opened(tx, login, by, client)
        if isinstance(opened, DeviceError):
            raise opened
        return await self._sessions.logged_in(*opened)

    async def look(self, user_code: str, by: Principal) -> DeviceLogin:
        """The program that waits with this code.

        Raises:
            NotFound: none does.
            LockedOut: too many codes from this address were wrong.
        """
        code = read_user_code(user_code)
        if code is None:
            raise NotFound("a code has eight letters, such as `BCDF-GHJK`")
        await self._lockout.begin_code(by)
        async with self._database.reading() as tx:
            login = _waiting(await tx.devices.by_code(code))
        await self._lockout.code_was_right(by)
        return login

    async def name(
        self, tx: Transaction, login_id: str, user: User, via: str, browser_secret: str
    ) -> None:
        """Somebody has logged in for a program, in the transaction of that; it is not approved yet.

        Raises:
            NotFound: it does not wait any more.
        """
        _waiting(await tx.devices.by_id(login_id, lock=True))
        await tx.devices.name(login_id, user_id=user.id, via=via, browser=code_hash(browser_secret))

    async def named(self, login_id: str) -> DeviceLogin:
        """A program that waits, for the page that asks whether it may.

        Raises:
            NotFound: it does not wait any more.
        """
        async with self._database.reading() as tx:
            return _waiting(await tx.devices.by_id(login_id))

    async def decide(
        self, user_code: str, browser_secret: str, by: Principal, *, approve: bool
    ) -> DeviceLogin:
        """Approve or deny a program, in the browser in which its user has logged in for it.

        Raises:
            NotFound: it does not wait any more.
            NotLoggedIn: nobody has logged in for it in this browser.
            LockedOut: too many codes from this address were wrong.
        """
        login_id = (await self.look(user_code, by)).id
        async with self._database.transaction() as tx:
            login = _waiting(await tx.devices.by_id(login_id, lock=True))
            mark = code_hash(browser_secret)
            if login.user is None or not hmac.compare_digest(login.browser or "", mark):
                raise NotLoggedIn("nobody has logged in for this program in this browser")
            state = DeviceState.APPROVED if approve else DeviceState.DENIED
            await tx.devices.put(login.id, state)
            owner = by.model_copy(update={"name": login.user})
            outcome = Outcome.DONE if approve else Outcome.DENIED
            await tx.audit.add(
                owner,
                "session.approve",
                login.id,
                outcome=outcome,
                via=login.via,
                client=login.client,
                device_source=login.source,
            )
        return login

    async def _opened(
        self, tx: Transaction, login: DeviceLogin | None, by: Principal, client: str
    ) -> tuple[str, RefreshToken] | DeviceError:
        """A session, or why there is none: a question that came is noted all the same."""
        if login is None or login.state is DeviceState.USED or login.expired:
            return ExpiredToken("this login is over, or was never begun; begin anew")
        if login.state is DeviceState.DENIED:
            return AccessDenied("the login was denied in the browser")
        if login.state is DeviceState.PENDING:
            return await self._wait(tx, login)
        user = await tx.accounts.lock_user(login.user or "")
        await tx.devices.put(login.id, DeviceState.USED)
        if not user.active:
            return AccessDenied(f"`{user.name}` is switched off")
        session_id, refresh = await self._sessions.opened(tx, user, by, client)
        owner = by.model_copy(
            update={"name": user.name, "role": user.role, "credential": session_id}
        )
        via = f"device:{login.via}"
        await tx.audit.add(owner, "session.login", session_id, client=client[:200], via=via)
        return session_id, refresh

    async def _wait(self, tx: Transaction, login: DeviceLogin) -> DeviceError:
        pause = timedelta(seconds=login.interval) - _EARLY
        if login.asked_at is not None and login.now - login.asked_at < pause:
            await tx.devices.asked(login.id, interval=slowed(login.interval))
            return SlowDown(f"wait {slowed(login.interval):g} s between two questions")
        await tx.devices.asked(login.id, interval=login.interval)
        return AuthorizationPending("nobody has approved this login yet")


def _waiting(login: DeviceLogin | None) -> DeviceLogin:
    if login is None or login.expired or login.state is not DeviceState.PENDING:
        raise NotFound("no program waits with this code, or not any more; begin anew there")
    return login
