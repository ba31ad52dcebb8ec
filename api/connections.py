"""How many HTTP connections a server has at once, and which of them give way to a new one.

Whoever opens connections and never completes a request (a byte now and then) would take all files
that the process may open, and then nobody is let in any more. Here the connection that has owed its
request for the longest gives way: a client that sends what it has to say is done long before.
"""

import resource
from typing import Final, Literal, Protocol

import structlog

from cortex.settings import ApiSettings

State = Literal["owing", "idle", "busy"]
"""`owing`: its request is not complete; `idle`: waits for the next; `busy`: is answered."""

OTHER_FILES: Final = 200
"""What the process opens beside connections: the pools of the database, Temporal, its modules."""

_MOST_PARTING: Final = 100
_MOST_FILES: Final = 2**20
_log = structlog.get_logger(__name__)


class Held(Protocol):
    """One connection."""

    def give_way(self, *, say_why: bool) -> None:
        """End it: another one needs its place."""


class Connections:
    """The HTTP connections of one server.

    Args:
        most: At once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # In the order in which they came to be so.
        self._in: dict[State, dict[Held, None]] = {"owing": {}, "idle": {}, "busy": {}}
        self._parting: set[Held] = set()

    def __len__(self) -> int:
        return sum(len(some) for some in self._in.values())

    def enter(self, connection: Held) -> None:
        """A new one. If there are too many, one gives way: at worst this one."""
        if len(self) >= self._most:
            waiting = self._in["owing"] or self._in["idle"]
            self._part(next(iter(waiting), connection))
        if connection not in self._parting:
            self._in["owing"][connection] = None

    def mark(self, connection: Held, state: State) -> None:
        """What it does now."""
        some = self._in[state]
        if connection in some or connection in self._parting:
            return
        if self._forget(connection):
            some[connection] = None

    def leave(self, connection: Held) -> None:
        """It is closed, or no longer one of HTTP."""
        self._forget(connection)
        self._parting.discard(connection)

    def _part(self, connection: Held) -> None:
        self._forget(connection)
        say_why = len(self._parting) < _MOST_PARTING
        self._parting.add(connection)
        connection.give_way(say_why=say_why)

    def _forget(self, connection: Held) -> bool:
        for some in self._in.values():
            if connection in some:
                del some[connection]
                return True
        return False


def connections_of(settings: ApiSettings) -> Connections:
    """Those of a server: as many as the settings say, if the process may open as many files."""
    files = allow_files()
    wanted = settings.max_connections + settings.max_sockets + OTHER_FILES
    if files >= wanted:
        return Connections(settings.max_connections)
    most = max(16, min(settings.max_connections, (files - OTHER_FILES) // 2))
    _log.warning(
        "api.few_files",
        limit=files,
        wanted=wanted,
        connections=most,
        detail="`api.max_connections` and `api.max_sockets` need more open files than this process "
        "may have: raise the limit (`ulimit -Hn`, `LimitNOFILE=`), or lower them",
    )
    return Connections(most)


def allow_files() -> int:
    """Raise how many files the process may open as far as it may; how many these are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError):  # the system has a bound of its own
        return soft
    return most
