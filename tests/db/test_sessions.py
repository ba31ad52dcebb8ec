"""What is over for long is deleted: sessions, refresh tokens, links, counts of failures."""

from datetime import timedelta

from sqlalchemy import text

from cortex.db.engine import Database

_OLD = timedelta(days=30)
_ROWS = (
    "INSERT INTO users (id, name, role) VALUES ('usr_1', 'ann', 'viewer')",
    "INSERT INTO sessions (id, user_id, expires_at, longest_until, ended_at) VALUES "
    "('ended', 'usr_1', now() + interval '1 d', now(), now() - interval '31 d'), "
    "('over', 'usr_1', now() - interval '31 d', now(), NULL), "
    "('lately', 'usr_1', now() - interval '29 d', now(), now() - interval '29 d'), "
    "('open', 'usr_1', now() + interval '1 d', now(), NULL)",
    "INSERT INTO refresh_tokens (hash, session_id, expires_at) VALUES "
    "('a', 'ended', now()), ('b', 'open', now() - interval '31 d'), ('c', 'open', now())",
    "INSERT INTO login_links (hash, user_id, kind, created_by, expires_at) VALUES "
    "('old', 'usr_1', 'reset', 'eve', now() - interval '31 d'), "
    "('new', 'usr_1', 'reset', 'eve', now() - interval '29 d')",
    "INSERT INTO login_attempts (kind, subject, failures, last_at) VALUES "
    "('account', 'old', 7, now() - interval '31 d'), ('account', 'new', 7, now())",
)


async def test_what_is_over_for_long_is_deleted(database: Database) -> None:
    async with database.transaction() as tx:
        for statement in _ROWS:
            await tx.connection.execute(text(statement))
        assert await tx.sessions.expire(_OLD) == 2
        assert await tx.links.expire(_OLD) == 1
        assert await tx.logins.expire(_OLD) == 1
    async with database.reading() as tx:
        left = {}
        for column, table in (
            ("id", "sessions"),
            ("hash", "refresh_tokens"),
            ("hash", "login_links"),
            ("subject", "login_attempts"),
        ):
            rows = await tx.connection.execute(text(f"SELECT {column} FROM {table} ORDER BY 1"))
            left[table] = rows.scalars().all()
    assert left == {
        "sessions": ["lately", "open"],
        "refresh_tokens": ["c"],
        "login_links": ["new"],
        "login_attempts": ["new"],
    }
