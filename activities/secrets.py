"""Encrypting with the newest key what is encrypted with an older one."""

import structlog
from temporalio import activity

from cortex.db.engine import Database
from cortex.db.secrets import KINDS
from cortex.domain.errors import CortexError
from cortex.security.keyring import KeyRing

_AT_ONCE = 200
_log = structlog.get_logger(__name__)


async def rotate_secrets(database: Database, keyring: KeyRing) -> int:
    """Encrypt anew whatever is not under the newest key; how many were.

    What cannot be opened stays as it is, and is told: its key has been taken out of the ring.
    """
    if keyring.newest is None:
        return 0
    done = 0
    for what in KINDS:
        after = ""
        while True:
            async with database.reading() as db:
                page = await db.secrets.others(what, keyring.newest, after=after, limit=_AT_ONCE)
            if not page:
                break
            for sealed in page:
                try:
                    new = keyring.sealed_anew(sealed.blob, sealed.place)
                except CortexError as error:
                    _log.error("secrets.not_rotated", what=what, id=sealed.id, error=error.detail)
                    continue
                async with database.statement() as tx:
                    done += await tx.secrets.replace(sealed, new)
            after = page[-1].id
            if activity.in_activity():
                activity.heartbeat()
    return done
