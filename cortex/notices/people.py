"""Persons: how each is reached, and the secrets of that: a chat, and a token to unsubscribe."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

from cortex.db.engine import Reading, Transaction
from cortex.db.notices.preferences import StoredPreferences
from cortex.domain.messages import Channel
from cortex.domain.notices import Occurrence, Preferences
from cortex.domain.rights import Action, Principal
from cortex.security.keyring import KeyRing
from cortex.security.places import preference_place
from cortex.services.accounts.owners import owner_now
from cortex.settings import Settings

TOKEN: Final = "^ctu_[A-Za-z0-9_-]{43}$"
UNSUBSCRIBE: Final = "/api/v1/auth/unsubscribe"
_TOKEN: Final = re.compile(TOKEN)


@dataclass(frozen=True)
class PersonSecrets:
    """What nobody is shown.

    Attributes:
        token: Unsubscribes whoever has it from all notices; it opens nothing else.
        chat: A URL as Apprise writes it; empty: none.
    """

    token: str = field(repr=False)
    chat: str = field(default="", repr=False)

    @classmethod
    def make(cls) -> Self:
        secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        return cls(f"ctu_{secret}")

    def sealed(self, keyring: KeyRing, name: str) -> bytes:
        """Encrypted for this person only.

        Raises:
            ServiceUnavailable: no encryption key is configured.
        """
        words = {"token": self.token, "chat": self.chat}
        return keyring.encrypt(words, preference_place(name), what="how you are reached")

    @classmethod
    def opened(cls, keyring: KeyRing, sealed: bytes, name: str) -> Self:
        """Decrypted.

        Raises:
            CortexError: its key is not in the ring, or it was sealed for somebody else.
        """
        words = keyring.decrypt(sealed, preference_place(name))
        return cls(words["token"], words["chat"])

    @property
    def hash(self) -> str:
        """What is looked for. The token has 256 bits: nobody can try them, so no salt."""
        return token_hash(self.token)


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(text: str) -> bool:
    """Whether a text has the form of a token to unsubscribe."""
    return bool(_TOKEN.fullmatch(text))


class People:
    """What is known of persons who are told."""

    def __init__(self, settings: Settings) -> None:
        self._api = settings.api
        self._smtp = settings.smtp
        self.keyring = KeyRing.from_setting(settings.encryption_keys)

    @property
    def mails(self) -> bool:
        """Whether this server sends mail at all."""
        return bool(self._smtp.host)

    async def address(self, tx: Reading | Transaction, name: str) -> str:
        """Where somebody gets mail; empty: nowhere."""
        user = await tx.accounts.find_user(name)
        return user.email if user is not None else self._smtp.addresses.get(name, "")

    async def channels(
        self, tx: Reading | Transaction, name: str, chosen: Preferences
    ) -> list[Channel]:
        """How somebody is reached; nothing while they have switched all off.

        Without an encryption key nobody is: messages wait encrypted.
        """
        if not chosen.enabled or self.keyring.newest is None:
            return []
        ways = []
        if chosen.email and self.mails and await self.address(tx, name):
            ways.append(Channel.EMAIL)
        if chosen.chat:
            ways.append(Channel.CHAT)
        return ways

    async def principal(self, tx: Reading | Transaction, name: str) -> Principal | None:
        """Somebody as they are now; None: they may do nothing any more."""
        return await owner_now(tx, name, self._api)

    async def stored(self, tx: Transaction, name: str) -> tuple[Preferences, PersonSecrets]:
        """What somebody has chosen, locked; who never has gets a token of their own now.

        Raises:
            CortexError: their secrets cannot be opened, or no encryption key is configured.
        """
        there = await tx.preferences.lock(name)
        if there is not None and there.sealed is not None:
            return there.chosen, PersonSecrets.opened(self.keyring, there.sealed, name)
        chosen, made = chosen_of(there), PersonSecrets.make()
        await tx.preferences.put(name, chosen, made.sealed(self.keyring, name), made.hash)
        return chosen, made


def chosen_of(stored: StoredPreferences | None) -> Preferences:
    """What somebody has chosen, or what holds until they do."""
    return Preferences() if stored is None else stored.chosen


def may_see(by: Principal, occurrence: Occurrence) -> bool:
    """Whether somebody may know of it at all."""
    return sees(by, occurrence.subject, occurrence.owner, occurrence.project)


def sees(by: Principal, subject: str, owner: str, project: str) -> bool:
    """Whether somebody may see the job, group or schedule with this id."""
    is_schedule = subject.startswith("sch_")
    action = Action.SCHEDULES_READ if is_schedule else Action.JOBS_READ
    return by.may(action, owner=owner, project=project)
