"""Mails about accounts: a link by which somebody sets a password."""

from datetime import datetime
from typing import Final

from cortex.db.engine import Transaction
from cortex.domain.accounts import User
from cortex.domain.ids import new_id
from cortex.domain.links import LinkKind, LinkToken
from cortex.domain.messages import Channel, Content, MessageKind
from cortex.security.keyring import KeyRing
from cortex.security.places import message_place
from cortex.settings import Settings

_KINDS: Final = {
    LinkKind.INVITATION: MessageKind.INVITATION,
    LinkKind.RESET: MessageKind.RESET,
}


class AccountMails:
    """Puts mails on their way, in the transaction of what they tell of; a worker sends them."""

    def __init__(self, settings: Settings) -> None:
        self._smtp = settings.smtp
        self._url = settings.api.public_url
        self._keyring = KeyRing.from_setting(settings.encryption_keys)

    def why_not(self, user: User) -> str:
        """Why this user cannot be sent any; empty: they can."""
        if not self._smtp.host:
            return "this server sends no mail: `smtp.host` is not set"
        if not user.email:
            return f"`{user.name}` has no address: `cortex users set {user.name} --email …`"
        if self._keyring.newest is None:
            return "mails wait encrypted, and no encryption key is configured"
        return ""

    async def void(self, tx: Transaction, user: User) -> None:
        """Let no link that was made before reach this user any more: it opens nothing."""
        await tx.messages.void(user.name, _KINDS.values(), "a newer link took its place")

    async def send_link(
        self, tx: Transaction, user: User, kind: LinkKind, token: LinkToken, expires_at: datetime
    ) -> None:
        """Put a link on its way to somebody who can be sent mail (`why_not`)."""
        message_id = new_id("msg")
        subject, text = _letter(user.name, kind, token, expires_at, self._url)
        content = Content(to=user.email, subject=subject, text=text)
        sealed = self._keyring.encrypt(
            content.words(), message_place(message_id), what="a mail with a link"
        )
        await tx.messages.add(
            message_id, user.name, Channel.EMAIL, _KINDS[kind], sealed, expires_at
        )


def _letter(
    name: str, kind: LinkKind, token: LinkToken, expires_at: datetime, url: str | None
) -> tuple[str, str]:
    """Subject and text."""
    where = f" at {url}" if url else ""
    if kind is LinkKind.INVITATION:
        subject = "[Cortex] your invitation"
        first = f"You are invited to Cortex{where}, as `{name}`."
    else:
        subject = "[Cortex] a new password"
        first = f"An administrator lets you set a new password for Cortex{where}, as `{name}`."
    server = f"--url {url} " if url else ""
    lines = [
        first,
        "",
        f"Until {expires_at:%Y-%m-%d %H:%M} UTC this command sets your password, once:",
        "",
        f"    cortex {server}redeem {token.text}",
        "",
        "Whoever has this mail can do that: hand it to nobody. If you did not expect it, do",
        "nothing, and tell whoever runs Cortex.",
    ]
    return subject, "\n".join(lines)
