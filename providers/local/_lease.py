"""The folder of one lease: all that is known about it, for every process that asks.

    lease.json    what was agreed: price, ports, isolation
    plan.json     what to run, secrets included; removed when it starts or is cancelled
    status.json   written by the shim: who it is, how the run does, how it ended
    cancelled     the fence: once it is there, nothing is started any more
    lock          held while starting and while fencing
    alive         touched by the shim now and then
    work/ tmp/ log/

All methods block shortly and are called in threads.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cortex.domain.leases import Endpoint, LeaseSnapshot
from cortex.domain.money import Money, cost_for
from cortex.domain.offers import Usage
from cortex.domain.states import RunState
from cortex.domain.units import about_bytes
from providers.collected import LeftOut
from providers.local._processes import boot_id, is_alive, kill_marked
from providers.local.shim.room import REMOVED
from providers.outputs.names import printable

BELL = ".bell"


class Agreed(BaseModel):
    """`lease.json`."""

    model_config = ConfigDict(frozen=True)

    hourly: Money
    endpoints: tuple[Endpoint, ...] = ()
    sandboxed: bool
    workdir: str
    storage: int


@dataclass(frozen=True)
class Status:
    """`status.json`."""

    state: Literal["starting", "running", "exited", "lost"]
    pid: int
    ticks: int
    boot: str
    started_at: float
    exit_code: int | None = None
    message: str = ""
    finished_at: float | None = None

    @property
    def final(self) -> bool:
        return self.finished_at is not None

    @property
    def shim_alive(self) -> bool:
        return self.boot == boot_id() and is_alive(self.pid, self.ticks)


_STATUS = TypeAdapter(Status)


class LeaseFolder:
    def __init__(self, state_dir: Path, key: str) -> None:
        self.key = key
        self.path = state_dir / key
        self.bell = state_dir / BELL / key

    def exists(self) -> bool:
        return self.path.is_dir()

    def agreed(self) -> Agreed | None:
        """What was agreed; None if the lease is gone."""
        try:
            return Agreed.model_validate_json((self.path / "lease.json").read_bytes())
        except FileNotFoundError:
            return None

    def fenced(self) -> bool:
        return (self.path / "cancelled").exists()

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the lock; gives its descriptor, which a child may inherit to go on holding it.

        Raises:
            FileNotFoundError: the lease is gone.
        """
        fd = os.open(self.path / "lock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not self.exists():
                raise FileNotFoundError(self.path)
            yield fd
        finally:
            # Closing, not unlocking: an explicit unlock would take it from the child too.
            os.close(fd)

    def recorded(self) -> Status | None:
        """What the shim wrote last; None if none was ever started, or the lease is gone."""
        for _ in range(100):
            try:
                return _STATUS.validate_json((self.path / "status.json").read_bytes())
            except FileNotFoundError:
                return None
            except ValidationError:
                time.sleep(0.01)  # Being overwritten in place, on a full disk.
        raise OSError(f"{self.path / 'status.json'} is damaged")

    def status(self) -> Status | None:
        """The state now: of a shim that is gone without an end, the lease is lost."""
        status = self.recorded()
        if status is None or status.final or status.shim_alive:
            return status
        status = self.recorded()  # It may have ended between the two looks.
        if status is None or status.final:
            return status
        return self._lost(status)

    def _lost(self, status: Status) -> Status:
        """Kill what may be left of it, and write down that it is lost."""
        kill_marked(self.key)
        try:
            last = (self.path / "alive").stat().st_mtime
            lost = replace(
                status,
                state="lost",
                finished_at=max(status.started_at, last),
                message="the process that ran it was killed, or the machine was restarted",
            )
            temporary = self.path / f"status.json.{os.getpid()}.{time.time_ns()}"
            temporary.write_text(json.dumps(lost.__dict__))
            os.replace(temporary, self.path / "status.json")
            self.bell.touch()
        except FileNotFoundError:
            return replace(status, state="lost", finished_at=status.started_at)
        return lost

    def removed(self) -> list[LeftOut]:
        """Files that its shim has removed from the working folder, to make room on the disk."""
        try:
            removed = json.loads((self.path / REMOVED).read_bytes())
        except (FileNotFoundError, ValueError):
            return []
        why = "had {}, and was removed with the job's end: the disk was full"
        named = [
            LeftOut(_printable(path), why.format(about_bytes(size)))
            for path, size in removed["files"]
        ]
        more = removed["more"]
        return [*named, *([LeftOut(f"{more} more files", "were removed")] if more else [])]

    def fence(self) -> Status | None:
        """From now on nothing is started; what was started already is returned."""
        try:
            with self.locked():
                status = self.status()
                if status is None:
                    fd = os.open(self.path / "cancelled", os.O_CREAT | os.O_WRONLY, 0o600)
                    os.fsync(fd)
                    os.close(fd)
                    folder = os.open(self.path, os.O_RDONLY)
                    os.fsync(folder)
                    os.close(folder)
                    (self.path / "plan.json").unlink(missing_ok=True)
                    self.bell.touch()
                return status
        except FileNotFoundError:
            return None

    def snapshot(self) -> LeaseSnapshot:
        if not self.exists():
            return LeaseSnapshot(key=self.key, state=RunState.LOST, message="no such lease")
        status = self.status()
        if status is None and (self.fenced() or not self.exists()):
            message = "cancelled before it was started"
            return LeaseSnapshot(key=self.key, state=RunState.LOST, message=message)
        if status is None:
            return LeaseSnapshot(key=self.key, state=RunState.STARTING)
        agreed = None if status.final else self.agreed()
        return LeaseSnapshot(
            key=self.key,
            state=RunState(status.state),
            exit_code=status.exit_code,
            endpoints=agreed.endpoints if agreed else (),
            message=status.message,
            started_at=_moment(status.started_at),
            finished_at=None if status.finished_at is None else _moment(status.finished_at),
        )

    def usage(self) -> Usage | None:
        """What it has cost; None if the lease is gone."""
        agreed = self.agreed()
        if agreed is None:
            return None
        status = self.status()
        if status is None:
            return Usage(cost=Money.zero(agreed.hourly.currency), final=self.fenced())
        end = status.finished_at if status.finished_at is not None else time.time()
        seconds = round(Decimal(str(max(0.0, end - status.started_at))), 6)
        cost = cost_for(agreed.hourly, seconds)
        return Usage(cost=cost, final=status.final, seconds=seconds)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _printable(path: str) -> str:
    return "/".join(printable(name) for name in os.fsencode(path).split(b"/"))
