"""What is encrypted in the database: with which key, and how it is encrypted anew.

The id of its key stands at the front of each ciphertext, after its length.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from cortex.db.base import Access, Repository, Writes
from cortex.security.places import (
    job_place,
    message_place,
    named_secret_place,
    preference_place,
    provider_place,
    signing_place,
    totp_place,
    webhook_place,
)

_KEY: Final = "substring({column} from 2 for get_byte({column}, 0))"


@dataclass(frozen=True)
class Sealed:
    """One ciphertext, and the place that it is bound to."""

    what: str
    id: str
    blob: bytes

    @property
    def place(self) -> str:
        return _PLACES[self.what](self.id)


@dataclass(frozen=True)
class SealedCount:
    """How many ciphertexts of a kind are encrypted with a key."""

    what: str
    key: str
    count: int


_PLACES: Final = {
    "jobs": job_place,
    "messages": message_place,
    "named_secrets": named_secret_place,
    "notice_preferences": preference_place,
    "providers": provider_place,
    "signing_keys": signing_place,
    "totp_seeds": totp_place,
    "webhooks": webhook_place,
}
_COLUMNS: Final = {
    "jobs": "secrets",
    "messages": "sealed",
    "named_secrets": "sealed",
    "notice_preferences": "sealed",
    "providers": "credentials",
    "signing_keys": "sealed",
    "totp_seeds": "sealed",
    "webhooks": "secrets",
}


def _statement(form: str, what: str) -> str:
    column = _COLUMNS[what]
    return form.format(table=what, column=column, key=_KEY.format(column=column))


# By the index of keys (of jobs: most have no secrets, and are not in it).
COUNT: Final = text(
    " UNION ALL ".join(
        _statement(
            "SELECT '{table}' AS what, {key} AS key, count(*) AS number, max(id) AS example "
            "FROM {table} "
            "WHERE {column} IS NOT NULL GROUP BY {key}",
            what,
        )
        for what in _COLUMNS
    )
)
_OTHERS: Final = {
    what: text(
        _statement(
            "SELECT id, {column} AS blob FROM {table} "
            "WHERE {column} IS NOT NULL AND {key} <> :newest AND id > :after "
            "ORDER BY id LIMIT :limit",
            what,
        )
    )
    for what in _COLUMNS
}
EXAMPLE: Final = {
    what: _statement("SELECT {column} FROM {table} WHERE id = %s", what) for what in _COLUMNS
}
"""By kind, as psycopg takes it: one ciphertext, by the id that `COUNT` gives."""
# Whoever has changed it meanwhile has encrypted it with the newest key already.
_REPLACE: Final = {
    what: text(
        _statement("UPDATE {table} SET {column} = :new WHERE id = :id AND {column} = :old", what)
    )
    for what in _COLUMNS
}

KINDS: Final = tuple(_COLUMNS)


class SecretRepository(Repository[Access]):
    async def counts(self) -> list[SealedCount]:
        """How many there are of each kind, by key."""
        rows = (await self.connection.execute(COUNT)).all()
        counts = [SealedCount(row.what, _text(row.key), row.number) for row in rows]
        return sorted(counts, key=lambda count: (count.what, count.key))

    async def others(self, what: str, newest: str, *, after: str, limit: int) -> list[Sealed]:
        """Those of a kind that are encrypted with another key, behind an id, by id."""
        values = {"newest": newest.encode(), "after": after, "limit": limit}
        rows = await self.connection.execute(_OTHERS[what], values)
        return [Sealed(what, row.id, row.blob) for row in rows]

    async def replace(self: "SecretRepository[Writes]", sealed: Sealed, new: bytes) -> bool:
        """Put the new ciphertext in the place of the old; False if that is not there any more."""
        values = {"id": sealed.id, "old": sealed.blob, "new": new}
        return bool((await self.connection.execute(_REPLACE[sealed.what], values)).rowcount)


def _text(key: bytes) -> str:
    return bytes(key).decode(errors="replace")
