"""Logins that failed, counted for the account and for the address."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from sqlalchemy import delete, func, text

from cortex.db.base import Access, Repository, Transacts, Writes
from cortex.db.tables.logins import LoginAttemptRow
from cortex.domain.lockout import Limit

Kind = Literal["account", "address"]

# Counted before the password is looked at: many at once are as many as one after another.
_ATTEMPT: Final = text("""
INSERT INTO login_attempts AS a (kind, subject, failures) VALUES (:kind, :subject, 1)
ON CONFLICT (kind, subject) DO UPDATE SET
    failures = CASE WHEN a.last_at < now() - CAST(:forget AS interval) THEN 1
                    ELSE a.failures + 1 END,
    last_at = now(),
    locked_until = CASE
        WHEN a.last_at < now() - CAST(:forget AS interval) OR a.failures + 1 < :free THEN NULL
        ELSE now() + least(
            CAST(:longest AS interval),
            CAST(:first AS interval) * power(2, least(a.failures + 1 - :free, 20))
        ) END
WHERE a.locked_until IS NULL OR a.locked_until <= now()
RETURNING failures
""")
_LOCKED: Final = text("""
SELECT extract(epoch FROM locked_until - clock_timestamp()) FROM login_attempts
WHERE kind = :kind AND subject = :subject
""")
_TAKE_BACK: Final = text("""
UPDATE login_attempts SET failures = greatest(failures - 1, 0),
    locked_until = CASE WHEN failures - 1 < :free THEN NULL ELSE locked_until END
WHERE kind = :kind AND subject = :subject
""")
_KNOWN: Final = text("""
SELECT EXISTS (
    SELECT FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE u.name = :name AND s.source = :source AND s.created_at > now() - CAST(:within AS interval)
)
""")


@dataclass(frozen=True)
class Attempt:
    """One try to log in.

    Attributes:
        failures: How many there were in a row with this one; 0: it is not allowed now.
        wait: Seconds until the next one is allowed, if this one is not.
    """

    failures: int
    wait: float = 0.0


class LoginRepository(Repository[Access]):
    async def attempt(
        self: "LoginRepository[Transacts]", kind: Kind, subject: str, limit: Limit
    ) -> Attempt:
        """Count a try as a failure, if one is allowed now."""
        values = {
            "kind": kind,
            "subject": subject,
            "free": limit.free,
            "first": limit.first_wait,
            "longest": limit.longest_wait,
            "forget": limit.forget,
        }
        failures = (await self.connection.execute(_ATTEMPT, values)).scalar_one_or_none()
        if failures is not None:
            return Attempt(int(failures))
        named = {"kind": kind, "subject": subject}
        wait = (await self.connection.execute(_LOCKED, named)).scalar_one_or_none()
        return Attempt(0, float(wait or 0))

    async def take_back(
        self: "LoginRepository[Writes]", kind: Kind, subject: str, limit: Limit
    ) -> None:
        """The last try was no failure; those before stay counted."""
        values = {"kind": kind, "subject": subject, "free": limit.free}
        await self.connection.execute(_TAKE_BACK, values)

    async def forget(self: "LoginRepository[Writes]", kind: Kind, subject: str) -> None:
        """Nothing has failed here."""
        await self.connection.execute(
            delete(LoginAttemptRow).where(
                LoginAttemptRow.kind == kind, LoginAttemptRow.subject == subject
            )
        )

    async def is_known(self, name: str, source: str, within: timedelta) -> bool:
        """Whether somebody has logged in from this address lately."""
        values = {"name": name, "source": source, "within": within}
        return bool((await self.connection.execute(_KNOWN, values)).scalar_one())

    async def expire(self: "LoginRepository[Writes]", retention: timedelta) -> int:
        """Delete what is not counted any more."""
        statement = delete(LoginAttemptRow).where(LoginAttemptRow.last_at < func.now() - retention)
        return int((await self.connection.execute(statement)).rowcount)
