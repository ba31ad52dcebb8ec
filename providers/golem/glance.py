"""A look at a job inside its activity: how it does, and a piece of its log."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from providers.base import LogLine
from providers.errors import Unavailable
from providers.golem.activities import Activities
from providers.golem.config import GolemConfig
from providers.golem.guest import Guest
from providers.runner import RunnerLog, RunnerResult

Life = Literal["none", "live", "gone", "ended"]
PIECE = 128 * 1024
_HEAD = 1024
_ANEW = re.compile(rb"[oe][0-9]+[=-]")
_PATIENCE = 25.0


@dataclass(frozen=True)
class Glance:
    """One answer of the guest."""

    life: Life
    started_at: datetime | None
    result: RunnerResult | None
    log: bytes
    whole: bool
    """Whether nothing of the log lies behind this piece."""

    @property
    def over(self) -> bool:
        """Whether the job has ended, however."""
        return self.life in ("ended", "gone")


@dataclass(frozen=True)
class Piece:
    """Lines of a log, and whether the job was over before they were read."""

    lines: list[LogLine]
    over: bool
    end: int
    """So many bytes of the framed log are read."""


class Viewer:
    """Asks jobs how they do."""

    def __init__(self, activities: Activities, config: GolemConfig) -> None:
        self._activities = activities
        self._config = config

    async def look(
        self,
        activity_id: str,
        key: str,
        *,
        offset: int = 0,
        limit: int = PIECE,
        wait: float = 0,
        known: int = 0,
    ) -> Glance:
        """One question to the guest: one batch, which its exe-unit keeps.

        With `wait`, the answer comes as soon as the log has more than `known` bytes (and more than
        `offset`) or the job has ended, and after so many seconds at the latest. Whatever else is
        asked meanwhile waits for it.

        Raises:
            Unavailable: it cannot be asked now.
            UnitGone: there is nobody to ask any more.
        """
        guest = Guest(self._config, key)
        told = await self._activities.ask(
            activity_id, guest.read(offset, wait, known), limit, _PATIENCE
        )
        head, _, log = told.stdout.partition(b"\n")
        life, _, rest = head.decode(errors="replace").partition(" ")
        if life not in ("none", "live", "gone", "ended"):
            raise Unavailable(f"the job cannot be looked at: {told.message or told.stderr[:200]!r}")
        reader = RunnerLog(key)
        if offset == 0:
            reader.feed(log.split(b"\n", 1)[0].decode(errors="replace"))
        started = reader.started_at
        if life == "ended":
            reader.feed(guest.end_line(rest))
        return Glance(
            life=life,  # type: ignore[arg-type]
            started_at=started,
            result=reader.result,
            log=log,
            whole=len(told.stdout) < limit,
        )

    async def state(self, activity_id: str, key: str) -> Glance:
        """How it does, with as little of the log as tells when it began."""
        return await self.look(activity_id, key, limit=_HEAD)

    async def ends(self, activity_id: str, key: str, wait: float) -> bool:
        """Whether the job is over, or is within so many seconds."""
        # No log is so long: only the end is waited for.
        behind = self._config.max_log_bytes * 1024
        seen = await self.look(activity_id, key, offset=behind, limit=_HEAD, wait=wait)
        return seen.over

    async def pieces(
        self, activity_id: str, key: str, since: str | None, *, wait: float = 0, known: int = 0
    ) -> AsyncIterator[Piece]:
        """The lines that are there after the cursor, and those that have begun.

        A cursor is a place in the framed log, from which all that is not given yet can be read
        again, and what of it was given: `<byte>:<cursor of the runner>`. An older one has the byte.
        With `wait`, the first look waits so many seconds for a log of more than `known` bytes.
        """
        place, _, given = (since or "").partition(":")
        here = at = int(place) if place.isdigit() else 0
        if at >= self._config.max_log_bytes:
            yield Piece([], await self.ends(activity_id, key, wait), at)
            return
        reader = RunnerLog(key, keep=False, since=given)
        begun: dict[str, int] = {}
        rest = b""
        while True:
            seen = await self.look(activity_id, key, offset=at, wait=wait, known=known)
            wait = 0
            at += len(seen.log)
            *whole, rest = (rest + seen.log).split(b"\n")
            lines: list[LogLine] = []
            for raw in whole:
                fresh = reader.feed(raw.decode(errors="replace"))
                begun = _begun(reader, begun, raw, here, anew=bool(fresh))
                here += len(raw) + 1
                lines += [_at(line, begun, here) for line in fresh]
            last = seen.whole or not seen.log
            if last:
                open_lines = reader.rest() if seen.over else reader.partials()
                lines += [_at(line, {} if seen.over else begun, here) for line in open_lines]
            yield Piece(lines, seen.over, at)
            if last or at >= self._config.max_log_bytes:
                return


def _begun(
    reader: RunnerLog, before: dict[str, int], raw: bytes, here: int, *, anew: bool
) -> dict[str, int]:
    """Where the open lines begin, after this frame; a carriage return makes void what was."""
    own = raw[:1].decode(errors="replace")
    if anew or _ANEW.match(raw):
        before = {stream: place for stream, place in before.items() if stream != own}
    return {stream: before.get(stream, here) for stream in reader.open}


def _at(line: LogLine, begun: dict[str, int], here: int) -> LogLine:
    place = min(begun.values(), default=here)
    return line.model_copy(update={"cursor": f"{place}:{line.cursor}"})
