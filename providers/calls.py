"""A small record of what an adapter says to its network: which calls, how they ended, how long.

It is for reports about a network that behaves otherwise than expected. It is kept in memory, is
bounded, and has neither bodies nor headers nor ids: of a path, only its form.
"""

import os
import socket
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cortex.domain.providers.inspection import CallTally

_MOST_KINDS = 1000
_MOST_KEYS = 4
_MOST_TEXT = 300

WORKER = f"{socket.gethostname()}:{os.getpid()}"
# After `forget` a network knows no bill any more, and says so: that is the contract.
_USUAL = {("usage", "LeaseLost")}
_Kind = tuple[str, tuple[str, ...], str, str]


@dataclass
class _Count:
    """Calls of one kind."""

    first_at: datetime
    last_at: datetime
    odd: bool
    note: str = ""
    count: int = 0
    seconds: float = 0
    longest: float = 0


@dataclass
class CallBook:
    """The calls of one provider in this process, summed up by kind; the oldest kinds go first."""

    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _kinds: "OrderedDict[_Kind, _Count]" = field(default_factory=OrderedDict)

    def add(self, kind: _Kind, seconds: float, *, odd: bool = False, note: str = "") -> None:
        """Count one call that has just ended."""
        now = datetime.now(UTC)
        known = self._kinds.pop(kind, None) or _Count(now, now, odd)
        self._kinds[kind] = known
        known.last_at, known.odd = now, odd
        known.note = note[:_MOST_TEXT]
        known.count += 1
        known.seconds += seconds
        known.longest = max(known.longest, seconds)
        if len(self._kinds) > _MOST_KINDS:
            self._kinds.popitem(last=False)

    def tallies(
        self, *, after: datetime | None = None, keys: Collection[str] = ()
    ) -> list[CallTally]:
        """What was counted, in the order in which it was last seen.

        Args:
            after: Only kinds that were seen after this.
            keys: Only those about one of these leases, or about none in particular.
        """
        tallies: list[CallTally] = []
        for (step, about, call, outcome), count in self._kinds.items():
            if after is not None and count.last_at < after:
                continue
            if keys and about and not set(about) & set(keys):
                continue
            tallies.append(
                CallTally(
                    step=step,
                    keys=about,
                    call=call,
                    outcome=outcome,
                    odd=count.odd,
                    note=count.note,
                    count=count.count,
                    first_at=count.first_at,
                    last_at=count.last_at,
                    mean_ms=round(1000 * count.seconds / count.count),
                    longest_ms=round(1000 * count.longest),
                )
            )
        return tallies


@dataclass(frozen=True)
class _Scope:
    """Which step of the contract is under way in this task, and whose book it is noted in."""

    book: CallBook
    step: str
    keys: tuple[str, ...]


_scope: ContextVar[_Scope | None] = ContextVar("provider_calls", default=None)


@contextmanager
def noting(book: CallBook, step: str, keys: Sequence[str]) -> Iterator[None]:
    """Calls to the network inside the block belong to this step."""
    token = _scope.set(_Scope(book, step, _few(keys)))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def step_noted(book: CallBook, step: str, keys: Sequence[str]) -> Iterator[None]:
    """The same, and the step itself is noted with how it ended.

    The note of an error is its text: it must have been freed of secrets by then.
    """
    began, outcome, note = time.monotonic(), "ok", ""
    try:
        with noting(book, step, keys):
            yield
    except Exception as error:
        outcome, note = type(error).__name__, str(error)
        raise
    finally:
        odd = outcome != "ok" and (step, outcome) not in _USUAL
        kind = (step, _few(keys), "", outcome)
        book.add(kind, time.monotonic() - began, odd=odd, note=note)


def note(who: str, what: str, outcome: str, seconds: float = 0, *, odd: bool = False) -> None:
    """Note one call of the step under way; nothing happens outside of a step.

    Args:
        who: The service that was called, such as `Akash Console`.
        what: Method and form of the path, without ids: `GET /v1/deployments/*`.
        outcome: A status, or the class of an error.
        seconds: How long it took.
        odd: Whether it is not how such a call usually ends.
    """
    scope = _scope.get()
    if scope is not None:
        kind = (scope.step, scope.keys, f"{who} {what}", outcome)
        scope.book.add(kind, seconds, odd=odd)


@contextmanager
def timed(who: str, what: str) -> Iterator[None]:
    """Note one call that the block makes; its error goes on its way."""
    began, outcome = time.monotonic(), "ok"
    try:
        yield
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        note(who, what, outcome, time.monotonic() - began, odd=outcome != "ok")


def _few(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(keys))) if len(keys) <= _MOST_KEYS else ()
