"""Passkeys as a second factor: registered, named, used at logins, and removed."""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from cortex.db.engine import Database, Transaction
from cortex.db.passkeys import StoredPasskey
from cortex.domain.accounts import User
from cortex.domain.errors import Conflict, NotFound
from cortex.domain.ids import new_id
from cortex.domain.login_errors import InvalidCode, SecondFactorNeeded
from cortex.domain.passkeys import (
    CHALLENGE_LIFETIME,
    MOST_PASSKEYS,
    ChallengeKind,
    Passkey,
    PasskeyRules,
)
from cortex.domain.rights import Action, Principal
from cortex.domain.second_factor import new_recovery_codes, recovery_hash
from cortex.schemas.passkeys import (
    PasskeyAdded,
    PasskeyCreate,
    PasskeyLogin,
    PasskeyOptions,
    PasskeyPage,
)
from cortex.services.accounts.password_check import PasswordCheck
from cortex.settings import ApiSettings


@dataclass(frozen=True)
class Signed:
    """What a device has signed, and whose challenge it was, which is used up by now.

    Attributes:
        user_id: None: it was nobody's, or was used before.
    """

    credential: Mapping[str, Any] = field(repr=False)
    challenge: bytes = field(repr=False)
    user_id: str | None


class Passkeys:
    """One's own passkeys."""

    def __init__(
        self, database: Database, check: PasswordCheck, rules: PasskeyRules, settings: ApiSettings
    ) -> None:
        self._database = database
        self._check = check
        self._rules = rules
        base = settings.public_url or f"http://localhost:{settings.port}"
        self._rp_id = rules.rp_id or urlsplit(base).hostname or "localhost"
        self._origins = rules.origins or (base,)

    async def all(self, by: Principal) -> PasskeyPage:
        """Those of whoever asks."""
        async with self._database.reading() as tx:
            user = await tx.accounts.find_user(by.name)
            items = [] if user is None else await tx.passkeys.shown(user.id)
        return PasskeyPage(items=tuple(items))

    async def begin(self, password: str, by: Principal) -> PasskeyOptions:
        """What a browser needs to let a device make one.

        Raises:
            Conflict: there are as many as there may be, or whoever asks has no password.
            WrongPassword, LockedOut: it is not the password.
        """
        user = (await self._check.own(password, by)).user
        site = await self._site()
        async with self._database.transaction() as tx:
            known = await tx.passkeys.of(user.id)
            if len(known) >= MOST_PASSKEYS:
                raise Conflict(f"you have {MOST_PASSKEYS} passkeys; remove one first")
            challenge = await self._challenge(tx, user, "register")
        ids = [each.credential_id for each in known]
        return PasskeyOptions(publicKey=site.registration(user.id, user.name, challenge, ids))

    async def add(self, wanted: PasskeyCreate, by: Principal) -> PasskeyAdded:
        """Register what a device has made; logins need a second factor from now on.

        Raises:
            InvalidCode: it is not good; says why.
            Conflict: it is registered already.
        """
        credential = wanted.credential.model_dump()
        signed, site = await self._signed(credential, "register"), await self._site()
        async with self._database.transaction() as tx:
            user = await tx.accounts.find_user(by.name)
            if user is None or signed.user_id != user.id:
                raise _invalid("nobody was asked for it, or it was sent before; begin anew")
            await tx.accounts.lock_user(user.name)
            try:
                made = site.registered(credential, signed.challenge)
            except _library().Refused as error:
                raise _invalid(str(error)) from None
            stored = StoredPasskey(
                new_id("pky"), made.credential_id, made.public_key, made.sign_count
            )
            first = not await self._has_any(tx, user)
            added = await tx.passkeys.add(
                user.id, stored, name=wanted.name, backed_up=made.backed_up
            )
            if not added:
                raise Conflict("this passkey is registered already")
            codes = new_recovery_codes() if first else None
            if codes is not None:
                hashes = [recovery_hash(each) for each in codes]
                await tx.second_factors.renew_recovery_codes(user.id, hashes)
            await tx.audit.add(by, "passkey.create", stored.id, before={}, after=_told(wanted.name))
            shown = await tx.passkeys.shown(user.id)
        passkey = next(each for each in shown if each.id == stored.id)
        return PasskeyAdded(passkey=passkey, recovery_codes=None if codes is None else tuple(codes))

    async def rename(self, passkey_id: str, name: str, by: Principal) -> Passkey:
        """Give one of one's own another name.

        Raises:
            NotFound: there is none with this id among them.
        """
        async with self._database.transaction() as tx:
            user = await tx.accounts.find_user(by.name)
            old = None if user is None else await tx.passkeys.rename(user.id, passkey_id, name)
            if user is None or old is None:
                raise _missing(passkey_id)
            if old != name:
                await tx.audit.add(
                    by, "passkey.update", passkey_id, before=_told(old), after=_told(name)
                )
            shown = await tx.passkeys.shown(user.id)
        return next(each for each in shown if each.id == passkey_id)

    async def remove(self, passkey_id: str, password: str, by: Principal) -> None:
        """Remove one of one's own; with the last second factor its recovery codes go too.

        Raises:
            NotFound: there is none with this id among them.
            Conflict: whoever asks has no password.
            WrongPassword, LockedOut: it is not the password.
        """
        user = (await self._check.own(password, by)).user
        async with self._database.transaction() as tx:
            await tx.accounts.lock_user(user.name)
            gone = await tx.passkeys.remove(user.id, passkey_id)
            if not gone:
                raise _missing(passkey_id)
            if not await self._has_any(tx, user):
                await tx.second_factors.renew_recovery_codes(user.id, [])
            await tx.audit.add(by, "passkey.delete", passkey_id, before=_told(gone[0]), after={})

    async def begin_login(self, wanted: PasskeyLogin, by: Principal) -> PasskeyOptions:
        """What a browser needs to log in with a passkey; only for whoever knows the password.

        Raises:
            LoginRefused: name or password is wrong.
            Conflict: the user has no passkey.
            LockedOut: too many have failed.
        """
        user = (await self._check.of(wanted.name, wanted.password, by)).user
        await self._check.undecided(wanted.name, by)
        site = await self._site()
        async with self._database.transaction() as tx:
            known = await tx.passkeys.of(user.id)
            if not known:
                raise Conflict(f"`{user.name}` has no passkey")
            challenge = await self._challenge(tx, user, "login")
        ids = [each.credential_id for each in known]
        return PasskeyOptions(publicKey=site.authentication(challenge, ids))

    async def signed(self, credential: Mapping[str, Any]) -> Signed:
        """Use up the challenge of a login, be the rest of it good or not."""
        return await self._signed(credential, "login")

    async def require(
        self, tx: Transaction, user: User, known: list[StoredPasskey], signed: Signed
    ) -> None:
        """Go on with a login only if one of the user's passkeys has signed its challenge.

        Raises:
            SecondFactorNeeded: none has; says why.
        """
        library = _library()
        try:
            if signed.user_id != user.id:
                raise library.Refused("its challenge is not known, or was used before; begin anew")
            used = library.id_of(signed.credential)
            passkey = next((each for each in known if each.credential_id == used), None)
            if passkey is None:
                raise library.Refused("it is not registered here")
            told = (await self._site()).used(
                signed.credential,
                signed.challenge,
                public_key=passkey.public_key,
                sign_count=passkey.sign_count,
            )
        except library.Refused as error:
            raise SecondFactorNeeded(f"the passkey is not taken: {error}", name=user.name) from None
        await tx.passkeys.used(passkey.id, told.sign_count, told.backed_up)

    async def _signed(self, credential: Mapping[str, Any], kind: ChallengeKind) -> Signed:
        await self._site()
        try:
            challenge: bytes = _library().challenge_of(credential)
        except _library().Refused:
            return Signed(credential, b"", None)
        async with self._database.statement() as tx:
            user_id = await tx.passkeys.take_challenge(_hash(challenge), kind)
        return Signed(credential, challenge, user_id)

    async def _challenge(self, tx: Transaction, user: User, kind: ChallengeKind) -> bytes:
        challenge = os.urandom(32)
        await tx.passkeys.challenge(_hash(challenge), user.id, kind, CHALLENGE_LIFETIME)
        return challenge

    async def _has_any(self, tx: Transaction, user: User) -> bool:
        """Whether somebody has a second factor of any kind."""
        seed = await tx.second_factors.seed(user.id)
        confirmed = seed is not None and seed.confirmed_at is not None
        return confirmed or await tx.passkeys.count(user.id) > 0

    async def _site(self) -> Any:
        library = await asyncio.to_thread(_library)
        return library.Site(
            self._rp_id, self._rules.rp_name, self._origins, self._rules.require_verification
        )


def _library() -> Any:
    return import_module("cortex.security.passkeys")


def _hash(challenge: bytes) -> str:
    return hashlib.sha256(challenge).hexdigest()


def _told(name: str) -> dict[str, str]:
    return {"name": name}


def _missing(passkey_id: str) -> NotFound:
    return NotFound(f"you have no passkey `{passkey_id[:60]}`")


def _invalid(why: str) -> InvalidCode:
    return InvalidCode(f"the passkey is not taken: {why}", action=Action.ACCOUNT_CHANGE)
