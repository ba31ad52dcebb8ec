"""One-time links: an admin makes one for somebody, who sets a password with it.

That it is made and that its mail is on its way is one transaction.
"""

from cortex.db.engine import Database
from cortex.db.links import StoredLink
from cortex.domain.accounts import User, UserKind
from cortex.domain.errors import Conflict, NotFound
from cortex.domain.links import LinkKind, LinkToken
from cortex.domain.login_errors import NotLoggedIn
from cortex.domain.rights import Principal
from cortex.schemas.auth import Invitation, InvitationRequest, Redemption
from cortex.services.accounts.mails import AccountMails
from cortex.services.accounts.passwords import Passwords


class Invitations:
    """Makes and redeems links. Who may make them is the business of the route."""

    def __init__(self, database: Database, passwords: Passwords, mails: AccountMails) -> None:
        self._database = database
        self._passwords = passwords
        self._mails = mails

    async def invite(self, name: str, wanted: InvitationRequest, by: Principal) -> Invitation:
        """A link for somebody who has no password yet, or has lost it; earlier ones are void.

        It is sent to them by mail where that is possible, and else given to whoever asks.

        Raises:
            NotFound: there is no such user.
            Conflict: it is a service, or switched off; or mail is asked for and not possible.
        """
        token = LinkToken.make()
        async with self._database.transaction() as tx:
            stored = await tx.accounts.credentials(name, lock=True)
            if stored is None:
                raise NotFound(f"there is no user `{name[:60]}`")
            if stored.user.kind == UserKind.SERVICE:
                raise Conflict(f"`{name}` is a service: it has API keys and never a password")
            if not stored.user.active:
                raise Conflict(f"`{name}` is switched off")
            kind = LinkKind.INVITATION if stored.password_hash is None else LinkKind.RESET
            expires_at = await tx.links.add(
                token.hash, stored.user.id, kind, wanted.expires_in, created_by=by.name
            )
            await self._mails.void(tx, stored.user)
            mailed = self._is_mailed(stored.user, wanted)
            if mailed:
                await self._mails.send_link(tx, stored.user, kind, token, expires_at)
            after = {"kind": kind.value, "expires_at": expires_at.isoformat(), "by_email": mailed}
            await tx.audit.add(by, "user.invite", name, before={}, after=after)
        return Invitation(
            token="" if mailed else token.text,
            user=name,
            kind=kind,
            expires_at=expires_at,
            sent_to=stored.user.email if mailed else "",
        )

    def _is_mailed(self, user: User, wanted: InvitationRequest) -> bool:
        if wanted.by_email is False:
            return False
        why_not = self._mails.why_not(user)
        if why_not and wanted.by_email:
            raise Conflict(why_not)
        return not why_not

    async def redeem(self, wanted: Redemption, by: Principal) -> None:
        """Set a password with a link, which is used up; all sessions of the user end.

        Raises:
            NotLoggedIn: the link opens nothing, or not any more.
            InvalidRequest: the password is too weak; the link is still good.
        """
        token = LinkToken.read(wanted.token)
        if token is None:
            raise NotLoggedIn("this is no token of an invitation or a reset")
        async with self._database.reading() as tx:
            link = _good(await tx.links.find(token.hash))
        await self._passwords.require_strong(wanted.password, link.name, field="password")
        hashed = await self._passwords.hashed(wanted.password)
        async with self._database.transaction() as tx:
            # Whoever sends it at the same time waits here.
            link = _good(await tx.links.find(token.hash, lock=True))
            await tx.links.use(token.hash)
            await tx.accounts.set_password(link.user_id, hashed)
            await tx.passkeys.void_challenges(link.user_id)
            ended = await tx.sessions.end_others(link.user_id, "reset")
            await tx.logins.forget("account", link.name)
            owner = by.model_copy(update={"name": link.name})
            await tx.audit.add(
                owner, "user.redeem", link.name, kind=link.kind.value, sessions_ended=ended
            )


def _good(link: StoredLink | None) -> StoredLink:
    if link is None:
        raise NotLoggedIn("this link is not known, or not any more: a newer one took its place")
    if link.used_at is not None:
        raise NotLoggedIn("this link was used already; ask an admin for another one")
    if link.expired:
        raise NotLoggedIn("this link has expired; ask an admin for another one")
    if not link.active:
        raise NotLoggedIn(f"`{link.name}` is switched off")
    return link
