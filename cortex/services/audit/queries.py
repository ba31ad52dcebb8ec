"""Searching, exporting and verifying the audit log."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog

from cortex.db.audit import AuditFilter, Counts, Sealed, Unsealed
from cortex.db.engine import Database
from cortex.domain.audit import HEAD, MAX_PROBLEMS, NO_ENTRY, AuditEntry, Head, seal_of
from cortex.domain.errors import CortexError
from cortex.schemas.audit import AuditPage, AuditProblem, AuditVerification
from cortex.services.audit.sealing import seal_pending
from cortex.services.pagination import decode_number
from cortex.services.sheets import Cell, csv_text

_log = structlog.get_logger(__name__)

_ROWS_AT_ONCE: Final = 1000
_SEALS_AT_ONCE: Final = 2000
_HEADING: Final = (
    "id",
    "time",
    "actor",
    "credential",
    "action",
    "subject",
    "outcome",
    "source",
    "request",
    "data",
)


class AuditLog:
    """Reads the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: AuditFilter, *, cursor: str | None, limit: int) -> AuditPage:
        """Entries, the newest first.

        Raises:
            InvalidRequest: `cursor` is none of ours.
        """
        before = decode_number(cursor)
        async with self._database.reading() as tx:
            entries = await tx.audit.page(wanted, before=before, limit=limit + 1)
        more, entries = len(entries) > limit, entries[:limit]
        return AuditPage(items=tuple(entries), next_cursor=str(entries[-1].id) if more else None)

    async def csv(self, wanted: AuditFilter) -> AsyncIterator[str]:
        """The entries as CSV, the oldest first, piece by piece."""
        yield csv_text([_HEADING])
        async for entries in self._all(wanted):
            yield csv_text([_row(entry) for entry in entries])

    async def json_lines(self, wanted: AuditFilter) -> AsyncIterator[str]:
        """The entries as JSON, one a line, the oldest first, piece by piece."""
        async for entries in self._all(wanted):
            yield "".join(f"{entry.model_dump_json()}\n" for entry in entries)

    async def verify(self, known: Head | None = None) -> AuditVerification:
        """Reckon every seal anew, and say what does not fit. What waits is sealed before.

        Args:
            known: A head that was written down before: the chain must still contain it.
        """
        check = _Check(known)
        try:
            await seal_pending(self._database)
        except CortexError:
            raise
        except Exception:  # such as a seal with the greatest number: what is there is still told
            _log.warning("audit.sealing_failed", exc_info=True)
            check.sealing_failed()
        after = None
        while True:
            async with self._database.reading() as tx:
                seals = await tx.audit.sealed(after=after, limit=_SEALS_AT_ONCE)
            if not seals:
                break
            for seal in seals:
                check.take(seal)
            after = seals[-1].seq
        async with self._database.reading() as tx:
            unsealed = await tx.audit.unsealed(limit=MAX_PROBLEMS)
            counts = await tx.audit.counts()
        return check.result(unsealed, counts)

    async def _all(self, wanted: AuditFilter) -> AsyncIterator[list[AuditEntry]]:
        after = 0
        while True:
            async with self._database.reading() as tx:
                entries = await tx.audit.page(wanted, after=after, limit=_ROWS_AT_ONCE)
            if not entries:
                return
            yield entries
            after = entries[-1].id


class _Check:
    """A walk along the chain. Behind a seal that does not fit it goes on with the one that is
    there, so that each problem is named at its own place.
    """

    def __init__(self, known: Head | None) -> None:
        self.head = NO_ENTRY
        self._known = known
        self._seals = 0
        self._problems: list[AuditProblem] = []
        self._more = 0

    def sealing_failed(self) -> None:
        self._problem(None, None, "what waits cannot be sealed; the server's log says why")

    def take(self, seal: Sealed) -> None:
        self._seals += 1
        if seal.seq < 1:
            self._problem(
                seal.seq, seal.audit_id, "the chain starts with 1: no seal has this number"
            )
            return
        if seal.seq != self.head.seq + 1:
            first, last = self.head.seq + 1, seal.seq - 1
            gone = f"seal {first} is" if first == last else f"seals {first} to {last} are"
            self._problem(first, None, f"{gone} gone")
        elif seal.content is None:
            self._problem(seal.seq, seal.audit_id, "the entry is gone")
        elif seal_of(bytes.fromhex(self.head.seal), seal.content) != seal.hash:
            self._problem(seal.seq, seal.audit_id, "the entry or its seal was changed")
        self.head = Head(seq=seal.seq, seal=seal.hash.hex())
        if self._known is not None and self._known.seq == seal.seq:
            if self._known.seal != self.head.seal:
                self._problem(seal.seq, seal.audit_id, "the seal is another than was known of it")
            self._known = None

    def result(self, unsealed: Sequence[Unsealed], counts: Counts) -> AuditVerification:
        for entry in unsealed:
            self._problem(None, entry.audit_id, _what(entry))
        known = self._known
        if known is not None and known.seq > self.head.seq:
            first, last = self.head.seq + 1, known.seq
            gone = f"entry {first}" if first == last else f"entries {first} to {last}"
            self._problem(first, None, f"{gone} of the chain: gone from its end")
        head = str(self.head)
        return AuditVerification(
            ok=not self._problems,
            entries=self._seals,
            head=head if re.fullmatch(HEAD, head) else None,
            waiting=counts.waiting,
            gaps=counts.gaps,
            problems=tuple(self._problems),
            more=self._more,
        )

    def _problem(self, seq: int | None, audit_id: int | None, message: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(AuditProblem(seq=seq, audit_id=audit_id, message=message))
        else:
            self._more += 1


def _what(entry: Unsealed) -> str:
    if not entry.there:
        return "the entry is gone, before it was sealed"
    if entry.noted:
        return "the entry was changed before it was sealed"
    return "the entry has no seal"


def _row(entry: AuditEntry) -> tuple[Cell, ...]:
    return (
        entry.id,
        entry.created_at,
        entry.actor,
        entry.credential,
        entry.action,
        entry.subject,
        entry.outcome.value,
        entry.source,
        entry.request_id,
        json.dumps(entry.data, ensure_ascii=False, sort_keys=True) if entry.data else "",
    )
