"""The second factor: enrolled, confirmed, asked for at logins, and removed."""

from importlib import import_module
from typing import Any, Final

from cortex.db.engine import Database, Transaction
from cortex.db.second_factors import StoredSeed
from cortex.domain.accounts import User
from cortex.domain.errors import Conflict, CortexError, NotFound, ServiceUnavailable
from cortex.domain.login_errors import InvalidCode, SecondFactorNeeded
from cortex.domain.rights import Action, Principal
from cortex.domain.second_factor import (
    SecondFactorState,
    is_app_code,
    new_recovery_codes,
    recovery_hash,
)
from cortex.schemas.auth import Enrolment, RecoveryCodes
from cortex.schemas.credentials import PasskeyAssertion
from cortex.security.keyring import KeyRing
from cortex.security.places import totp_place
from cortex.services.accounts.passkeys import Passkeys, Signed
from cortex.services.accounts.password_check import PasswordCheck

_ISSUER: Final = "Cortex"


class SecondFactors:
    """Codes of an app, and recovery codes; one's own, but for what an admin may remove."""

    def __init__(
        self, database: Database, keyring: KeyRing, check: PasswordCheck, passkeys: Passkeys
    ) -> None:
        self._database = database
        self._passkeys = passkeys
        self._keyring = keyring
        self._check = check

    async def state(self, by: Principal) -> SecondFactorState:
        """Whether whoever asks has one."""
        async with self._database.reading() as tx:
            user = await tx.accounts.find_user(by.name)
            if user is None:
                return SecondFactorState(confirmed_at=None, recovery_codes_left=0)
            return await tx.second_factors.state(user.id)

    async def enrol(self, password: str, by: Principal) -> Enrolment:
        """A secret for an app; it is asked for once it is confirmed.

        Raises:
            Conflict: there is one already, or whoever asks has no password.
            WrongPassword, LockedOut: it is not the password.
            ServiceUnavailable: there is no encryption key to keep it with.
        """
        user = (await self._check.own(password, by)).user
        secret: str = _totp().new_secret()
        sealed = self._keyring.encrypt(
            {"secret": secret}, totp_place(user.id), what="second factors"
        )
        async with self._database.transaction() as tx:
            if not await tx.second_factors.enrol(user.id, sealed):
                raise Conflict("you have a second factor already; disable it first")
            await tx.audit.add(by, "second_factor.enrol", user.name)
        return Enrolment(secret=secret, uri=_totp().uri(secret, user.name, _ISSUER))

    async def confirm(self, code: str, by: Principal) -> RecoveryCodes:
        """Show that the app has the secret: from now on logins need its codes.

        Raises:
            Conflict: nothing is to be confirmed.
            InvalidCode: the code is wrong.
            LockedOut: too many were.
        """
        await self._check.begin(by.name, by)
        codes = new_recovery_codes()
        async with self._database.transaction() as tx:
            user = await tx.accounts.find_user(by.name)
            seed = None if user is None else await tx.second_factors.seed(user.id, lock=True)
            if user is None or seed is None or seed.confirmed_at is not None:
                raise Conflict("nothing is to be confirmed: enrol a second factor first")
            step = _totp().step_of(self._opened(user, seed.sealed), code, after=seed.last_step)
            if step is None:
                raise InvalidCode(
                    "the code is wrong; is the clock of the device right?",
                    action=Action.ACCOUNT_CHANGE,
                )
            await tx.second_factors.confirm(user.id, step, [recovery_hash(each) for each in codes])
            await tx.audit.add(by, "second_factor.confirm", user.name)
        await self._check.succeeded(by.name, by)
        return RecoveryCodes(recovery_codes=tuple(codes))

    async def signed(self, credential: PasskeyAssertion) -> Signed:
        """What a device has signed for a login, whose challenge is used up by that."""
        return await self._passkeys.signed(credential.model_dump())

    async def require_passkey(self, tx: Transaction, user: User, signed: Signed) -> None:
        """Go on only if one of the user's passkeys has signed its challenge.

        Raises:
            SecondFactorNeeded: none has; says why.
        """
        await self._passkeys.require(tx, user, await tx.passkeys.of(user.id), signed)

    async def require(
        self,
        tx: Transaction,
        user: User,
        code: str | None,
        signed: Signed | None,
        by: Principal,
    ) -> None:
        """Go on with a login only if its second factor is right, in the transaction of the login.

        A code is used up: the step of an app, and a recovery code.

        Raises:
            SecondFactorNeeded: one is needed and there is none, or it is wrong.
        """
        seed = await tx.second_factors.seed(user.id, lock=True)
        confirmed = seed is not None and seed.confirmed_at is not None
        known = await tx.passkeys.of(user.id)
        if not confirmed and not known:
            return
        if signed is not None:
            await self._passkeys.require(tx, user, known, signed)
        elif code is not None:
            await self._require_code(tx, user, seed if confirmed else None, code, by)
        else:
            words = (
                "a passkey, or a code of your second factor,"
                if known
                else ("a code of your second factor")
            )
            raise SecondFactorNeeded(f"{words} is needed too", name=user.name)

    async def _require_code(
        self, tx: Transaction, user: User, seed: StoredSeed | None, code: str, by: Principal
    ) -> None:
        if is_app_code(code):
            if seed is None:
                raise SecondFactorNeeded(
                    "you have no app that shows codes: use a passkey, or a recovery code",
                    name=user.name,
                )
            secret = self._opened(user, seed.sealed)
            step = _totp().step_of(secret, code, after=seed.last_step)
            good = step is not None and await tx.second_factors.use_step(user.id, step)
        else:
            good = await tx.second_factors.use_recovery_code(user.id, recovery_hash(code))
            if good:
                owner = by.model_copy(update={"name": user.name})
                await tx.audit.add(owner, "second_factor.recovery", user.name)
        if not good:
            raise SecondFactorNeeded(
                "the code is wrong, or was used already; take the next one", name=user.name
            )

    async def disable(self, password: str, by: Principal) -> None:
        """Remove one's own app; passkeys stay, and recovery codes with them. Harmless to repeat.

        Raises:
            Conflict: whoever asks has no password.
            WrongPassword, LockedOut: it is not the password.
        """
        user = (await self._check.own(password, by)).user
        async with self._database.transaction() as tx:
            if await tx.second_factors.remove(user.id):
                if not await tx.passkeys.count(user.id):
                    await tx.second_factors.renew_recovery_codes(user.id, [])
                await tx.audit.add(by, "second_factor.disable", user.name)

    async def reset(self, name: str, by: Principal) -> None:
        """Remove somebody's app and passkeys, who has lost them. Harmless to repeat.

        Raises:
            NotFound: there is no such user.
        """
        async with self._database.transaction() as tx:
            user = await tx.accounts.find_user(name)
            if user is None:
                raise NotFound(f"there is no user `{name[:60]}`")
            passkeys = await tx.passkeys.remove(user.id)
            if await tx.second_factors.remove(user.id) or passkeys:
                await tx.second_factors.renew_recovery_codes(user.id, [])
                await tx.audit.add(by, "second_factor.reset", name, passkeys=passkeys)

    def _opened(self, user: User, sealed: bytes) -> str:
        try:
            return self._keyring.decrypt(sealed, totp_place(user.id))["secret"]
        except CortexError as error:  # its encryption key was taken out of the ring
            raise ServiceUnavailable(
                f"codes of the app cannot be checked: {error.detail}. Use a recovery code, or let "
                "an admin remove the second factor"
            ) from None


def _totp() -> Any:
    return import_module("cortex.security.totp")
