"""Sessions and their refresh tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, insert, select, text, update

from cortex.db.base import Access, Repository, Row, Transacts, Writes
from cortex.db.tables.accounts import UserRow
from cortex.db.tables.base import NOW
from cortex.db.tables.sessions import RefreshTokenRow, SessionRow
from cortex.domain.errors import NotFound
from cortex.domain.rights import Role
from cortex.domain.sessions import Session

_SESSIONS: Final = select(
    SessionRow.id,
    UserRow.name.label("user"),
    SessionRow.created_at,
    SessionRow.last_used_at,
    SessionRow.source,
    SessionRow.client,
    SessionRow.expires_at,
    SessionRow.ended_at,
    SessionRow.ended_why,
).join(UserRow, UserRow.id == SessionRow.user_id)

# Both rows: whoever ends the session, or sends the same token, waits.
_TAKE: Final = text("""
SELECT t.hash, t.expires_at, t.used_at, t.nonce, now() AS now, s.id AS session_id,
       s.longest_until, s.ended_at, u.name, u.role, u.active
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
WHERE t.hash = :hash FOR UPDATE OF t, s
""")
_USE: Final = text("""
WITH used AS (
    UPDATE refresh_tokens SET used_at = now(), nonce = :nonce WHERE hash = :hash
    RETURNING session_id
), next AS (
    INSERT INTO refresh_tokens (hash, session_id, expires_at)
    SELECT CAST(:next AS text), session_id, CAST(:expires_at AS timestamptz) FROM used
)
UPDATE sessions SET last_used_at = now(), expires_at = :expires_at, source = :source
WHERE id = (SELECT session_id FROM used)
""")


@dataclass(frozen=True)
class SessionHolder:
    """Whose session it is, and whether it is open."""

    id: str
    name: str
    role: Role
    active: bool
    expires_at: datetime
    ended_at: datetime | None
    ended_why: str


@dataclass(frozen=True)
class TakenToken:
    """A refresh token as it is stored, with its session and the database's time."""

    hash: str
    expires_at: datetime
    used_at: datetime | None
    nonce: bytes | None
    now: datetime
    session_id: str
    longest_until: datetime
    ended_at: datetime | None
    name: str
    role: Role
    active: bool


class SessionRepository(Repository[Access]):
    async def add(
        self: "SessionRepository[Transacts]",
        session_id: str,
        user_id: str,
        *,
        token: str,
        source: str,
        client: str,
        expires_at: datetime,
        longest_until: datetime,
    ) -> None:
        """Open a session; `token` is the hash of its first refresh token."""
        await self.connection.execute(
            insert(SessionRow).values(
                id=session_id,
                user_id=user_id,
                source=source,
                client=client,
                expires_at=expires_at,
                longest_until=longest_until,
            )
        )
        await self.connection.execute(
            insert(RefreshTokenRow).values(hash=token, session_id=session_id, expires_at=expires_at)
        )

    async def take(self: "SessionRepository[Transacts]", token: str) -> TakenToken | None:
        """The refresh token of this hash, and nobody else uses it; None: it is not known."""
        row = (await self.connection.execute(_TAKE, {"hash": token})).mappings().first()
        if row is None:
            return None
        nonce = None if row["nonce"] is None else bytes(row["nonce"])
        return TakenToken(**{**row, "nonce": nonce, "role": Role(row["role"])})

    async def use(
        self: "SessionRepository[Transacts]",
        token: str,
        *,
        nonce: bytes,
        following: str,
        expires_at: datetime,
        source: str,
    ) -> None:
        """Note that a refresh token was used, and the one that follows it (as hashes)."""
        values = {
            "hash": token,
            "nonce": nonce,
            "next": following,
            "expires_at": expires_at,
            "source": source,
        }
        await self.connection.execute(_USE, values)

    async def holder(self, session_id: str) -> SessionHolder | None:
        """Whose session it is, also one that has ended; None: there is none."""
        query = (
            select(
                SessionRow.id,
                UserRow.name,
                UserRow.role,
                UserRow.active,
                SessionRow.expires_at,
                SessionRow.ended_at,
                SessionRow.ended_why,
            )
            .join(UserRow, UserRow.id == SessionRow.user_id)
            .where(SessionRow.id == session_id)
        )
        row = (await self.connection.execute(query)).mappings().first()
        return None if row is None else SessionHolder(**{**row, "role": Role(row["role"])})

    async def open(self, user: str | None) -> list[Session]:
        """The open sessions of a user, or of all; the newest first."""
        query = _SESSIONS.where(
            SessionRow.ended_at.is_(None), SessionRow.expires_at > func.now()
        ).order_by(SessionRow.id.desc())
        if user is not None:
            query = query.where(UserRow.name == user)
        return [_session(row) for row in (await self.connection.execute(query)).mappings()]

    async def session(self, session_id: str) -> Session:
        """One session.

        Raises:
            NotFound: there is none with this id.
        """
        query = _SESSIONS.where(SessionRow.id == session_id)
        row = (await self.connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound(f"there is no session `{session_id[:60]}`")
        return _session(row)

    async def end(self: "SessionRepository[Writes]", session_id: str, why: str) -> bool:
        """End a session; False if it has ended already."""
        statement = (
            update(SessionRow)
            .where(SessionRow.id == session_id, SessionRow.ended_at.is_(None))
            .values(ended_at=NOW, ended_why=why)
        )
        return bool((await self.connection.execute(statement)).rowcount)

    async def end_others(
        self: "SessionRepository[Writes]", user_id: str, why: str, *, but: str = ""
    ) -> int:
        """End every session of a user but one; how many were open."""
        statement = (
            update(SessionRow)
            .where(
                SessionRow.user_id == user_id,
                SessionRow.id != but,
                SessionRow.ended_at.is_(None),
            )
            .values(ended_at=NOW, ended_why=why)
        )
        return int((await self.connection.execute(statement)).rowcount)

    async def expire(self: "SessionRepository[Transacts]", retention: timedelta) -> int:
        """Delete sessions that are over for so long, and refresh tokens past their time."""
        before = func.now() - retention
        gone = await self.connection.execute(
            delete(SessionRow).where(
                (SessionRow.ended_at < before) | (SessionRow.expires_at < before)
            )
        )
        await self.connection.execute(
            delete(RefreshTokenRow).where(RefreshTokenRow.expires_at < before)
        )
        return int(gone.rowcount)


def _session(row: Row) -> Session:
    return Session.model_validate(dict(row))
