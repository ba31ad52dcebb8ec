"""Sessions: opened, refreshed, listed and ended."""

import os
from datetime import UTC, datetime

from cortex.db.engine import Database, Transaction
from cortex.db.sessions import TakenToken
from cortex.domain.accounts import User
from cortex.domain.audit import Outcome
from cortex.domain.errors import Conflict, NotFound
from cortex.domain.ids import new_id
from cortex.domain.login_errors import NotLoggedIn
from cortex.domain.rights import Action, Principal
from cortex.domain.sessions import RefreshToken, Session, SessionRules
from cortex.schemas.auth import LoggedIn, SessionPage
from cortex.services.accounts.signing import AccessTokens

_LONGEST_CLIENT = 200
_ENDED = {
    "logout": "was logged out",
    "revoked": "was revoked",
    "password": "ended when the password was changed",
    "reset": "ended when the password was reset",
    "reuse": "was ended because a refresh token came twice",
}


class Sessions:
    """Opens, shows and ends sessions: one's own, or everybody's for whom the policy lets."""

    def __init__(self, database: Database, tokens: AccessTokens, rules: SessionRules) -> None:
        self._database = database
        self._tokens = tokens
        self._rules = rules

    async def opened(
        self, tx: Transaction, user: User, by: Principal, client: str
    ) -> tuple[str, RefreshToken]:
        """Open a session in the transaction of the login; its id and first refresh token."""
        session_id, token, now = new_id("ses"), RefreshToken.make(), datetime.now(UTC)
        longest_until = now + self._rules.longest
        await tx.sessions.add(
            session_id,
            user.id,
            token=token.hash,
            source=by.source,
            client=_visible(client),
            expires_at=min(now + self._rules.refresh_lifetime, longest_until),
            longest_until=longest_until,
        )
        return session_id, token

    async def prepare(self) -> None:
        """See to it that there is a key that signs access tokens.

        Raises:
            ServiceUnavailable: there is none, and no encryption key to keep one with.
        """
        await self._tokens.prepare()

    async def logged_in(self, session_id: str, refresh: RefreshToken) -> LoggedIn:
        """What somebody gets who has logged in, or refreshed.

        Raises:
            ServiceUnavailable: access tokens cannot be signed.
        """
        async with self._database.reading() as tx:
            session = await tx.sessions.session(session_id)
        return LoggedIn(
            access_token=await self._tokens.make(session.user, session_id),
            expires_in=int(self._rules.access_lifetime.total_seconds()),
            refresh_token=refresh.text,
            session=session,
        )

    async def refresh(self, text: str, by: Principal) -> LoggedIn:
        """The next tokens of a session.

        Raises:
            NotLoggedIn: the token is not known or its session is over; one that came twice ends it.
        """
        token = RefreshToken.read(text)
        if token is None:
            raise NotLoggedIn("this is no refresh token")
        async with self._database.transaction() as tx:
            taken = await tx.sessions.take(token.hash)
            if taken is None:
                raise NotLoggedIn("this refresh token is not known, or not any more; log in")
            self._require_open(taken)
            following = await self._following(tx, token, taken, by)
        if following is None:
            raise NotLoggedIn(
                "this refresh token was used before: somebody else may have it, so the session was "
                "ended; log in"
            )
        return await self.logged_in(taken.session_id, following)

    async def all(self, user: str | None, by: Principal) -> SessionPage:
        """The open sessions of a user; without one all that `by` may see.

        Raises:
            Forbidden: they are somebody else's.
        """
        if user is not None:
            by.require(Action.SESSIONS_CHANGE, owner=user)
        elif not by.may(Action.SESSIONS_CHANGE, owner=""):
            user = by.name
        async with self._database.reading() as tx:
            return SessionPage(
                items=tuple(await tx.sessions.open(user)),
                current=by.credential if is_session(by) else None,
            )

    async def end(self, session_id: str, by: Principal) -> None:
        """End a session: its access token opens nothing any more, at once. Harmless to repeat.

        Raises:
            NotFound: there is none with this id, or it is somebody else's and `by` sees own ones
                only.
        """
        async with self._database.transaction() as tx:
            session = await tx.sessions.session(session_id)
            if not by.may(Action.SESSIONS_CHANGE, owner=session.user):
                raise NotFound(f"there is no session `{session_id[:60]}`")
            if await tx.sessions.end(session_id, "revoked"):
                await tx.audit.add(
                    by, "session.revoke", session_id, before=_known_of(session), after={}
                )

    async def log_out(self, by: Principal) -> None:
        """End the session that asks.

        Raises:
            Conflict: an API key asks: it is in no session.
        """
        if not is_session(by):
            raise Conflict(
                "an API key is in no session; a key is revoked with `DELETE /keys/{id}`, a session "
                "ended with `DELETE /auth/sessions/{id}`"
            )
        async with self._database.transaction() as tx:
            if await tx.sessions.end(by.credential, "logout"):
                await tx.audit.add(by, "session.logout", by.credential)

    def _require_open(self, taken: TakenToken) -> None:
        if taken.ended_at is not None:
            raise NotLoggedIn("the session has ended; log in")
        if taken.expires_at <= taken.now:
            raise NotLoggedIn("the session was not used for too long; log in")
        if not taken.active:
            raise NotLoggedIn(f"`{taken.name}` is switched off")

    async def _following(
        self, tx: Transaction, token: RefreshToken, taken: TakenToken, by: Principal
    ) -> RefreshToken | None:
        """The next refresh token; None: this one was used before, so the session is ended."""
        if taken.used_at is None or taken.nonce is None:
            nonce = os.urandom(16)
            following = token.next(nonce)
            await tx.sessions.use(
                token.hash,
                nonce=nonce,
                following=following.hash,
                expires_at=min(taken.now + self._rules.refresh_lifetime, taken.longest_until),
                source=by.source,
            )
            return following
        if taken.now - taken.used_at <= self._rules.grace:
            return token.next(taken.nonce)
        await tx.sessions.end(taken.session_id, "reuse")
        owner = by.model_copy(update={"name": taken.name, "credential": taken.session_id})
        await tx.audit.add(
            owner,
            "session.reuse",
            taken.session_id,
            outcome=Outcome.DENIED,
            reason="a refresh token that was used already came again; the session was ended",
        )
        return None


def is_session(by: Principal) -> bool:
    """Whether a session asks, and not an API key."""
    return by.credential.startswith("ses_")


def ended_words(why: str) -> str:
    """How a session ended, for a message."""
    return _ENDED.get(why, "has ended")


def _known_of(session: Session) -> dict[str, str]:
    return {"user": session.user, "source": session.source, "client": session.client}


def _visible(client: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in client[:_LONGEST_CLIENT])
