"""Failed logins: counted in the database, so that they count for all API processes together."""

import math

from cortex.db.engine import Database
from cortex.domain.audit import Outcome
from cortex.domain.lockout import Limit, LockoutRules, network_of
from cortex.domain.login_errors import LockedOut
from cortex.domain.rights import Principal


class Lockout:
    """Holds up whoever fails too often. Never an API key, and never an open session."""

    def __init__(self, database: Database, rules: LockoutRules) -> None:
        self._database = database
        self._rules = rules
        self._account, self._address = (
            Limit(free, rules.first_wait, rules.longest_wait, rules.forget)
            for free in (rules.account_free, rules.address_free)
        )

    async def begin(self, name: str, by: Principal) -> None:
        """Somebody tries a password of this user: counted as a failure until it has succeeded.

        Raises:
            LockedOut: too many have failed; says when the next try is allowed.
        """
        address = network_of(by.source)
        async with self._database.transaction() as tx:
            # The address comes first: one that is held up does not hold up accounts.
            attempt = await tx.logins.attempt("address", address, self._address)
            what, limit = f"from `{address}`", self._address
            known = await tx.logins.is_known(name, by.source, self._rules.known_for)
            if attempt.failures and not known:
                attempt = await tx.logins.attempt("account", name, self._account)
                what, limit = f"as `{name}`", self._account
            if attempt.failures == limit.free:
                await tx.audit.add(
                    by, "session.lockout", name, outcome=Outcome.DENIED, reason=f"{what} too often"
                )
        if not attempt.failures:
            seconds = max(1, math.ceil(attempt.wait))
            raise LockedOut(
                f"too many logins {what} have failed; try again in {seconds} s", retry_after=seconds
            )

    async def begin_code(self, by: Principal) -> None:
        """Somebody tries a code that is nobody's: counted as a failure of the address.

        Raises:
            LockedOut: too many have failed; says when the next try is allowed.
        """
        address = network_of(by.source)
        async with self._database.transaction() as tx:
            attempt = await tx.logins.attempt("address", address, self._address)
            if attempt.failures == self._address.free:
                why = f"codes from `{address}` too often"
                await tx.audit.add(
                    by, "session.lockout", address, outcome=Outcome.DENIED, reason=why
                )
        if not attempt.failures:
            seconds = max(1, math.ceil(attempt.wait))
            raise LockedOut(
                f"too many codes from `{address}` were wrong; try again in {seconds} s",
                retry_after=seconds,
            )

    async def code_was_right(self, by: Principal) -> None:
        """The code was no failure."""
        async with self._database.transaction() as tx:
            await tx.logins.take_back("address", network_of(by.source), self._address)

    async def take_back(self, name: str, by: Principal) -> None:
        """This try was no failure, and no success yet: what was counted before stays."""
        async with self._database.transaction() as tx:
            await tx.logins.take_back("address", network_of(by.source), self._address)
            await tx.logins.take_back("account", name, self._account)

    async def succeeded(self, name: str, by: Principal) -> None:
        """The password was right: what failed as this user counts no more.

        What failed from the address does: else one good account would let try all others.
        """
        async with self._database.transaction() as tx:
            await tx.logins.forget("account", name)
            await tx.logins.take_back("address", network_of(by.source), self._address)
