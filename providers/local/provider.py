"""Runs jobs as processes on this machine, each under a small shim that outlives the worker.

A lease is a folder (see `_lease`); everything about it can be read by any process at any time,
so this class keeps nothing. How far jobs are isolated is told in docs/providers/local.md.
"""

import asyncio
import os
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import ClassVar, ParamSpec, TypeVar

import psutil

from cortex.disk import Disk
from cortex.domain.conditions import Conditions
from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.metrics import Sample
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from cortex.domain.units import about_bytes
from cortex.faultpoints import passed
from cortex.settings import default_data_dir
from providers.base import (
    Committed,
    Found,
    LogLine,
    NetworkStatus,
    Provider,
    ProviderConfig,
    Report,
    Reservation,
    no_report,
)
from providers.collected import GONE, Collected
from providers.errors import InvalidSpec, LeaseLost, NoCapacity, Unavailable, Unsuitable
from providers.local import _sandbox
from providers.local._bell import Bell
from providers.local._launch import SEEN, TEMPORARY, Launcher, remove, remove_tree
from providers.local._lease import BELL, LeaseFolder
from providers.local._logs import LogReader
from providers.local._metrics import measure
from providers.local._outputs import OutputCopier
from providers.local._ports import taken
from providers.local._processes import end_process
from providers.local.config import LocalConfig
from providers.local.shim.disk import LEAST
from providers.unpack import unpack_inputs

P = ParamSpec("P")
T = TypeVar("T")
_FOLLOW_INTERVAL = 0.1
_END_PATIENCE = 30.0
_SEEN_INTERVAL = 60.0
_STALE = 3600.0


class LocalProvider(Provider[LocalConfig]):
    type_name: ClassVar[str] = "local"
    Config: ClassVar[type[ProviderConfig]] = LocalConfig

    def __init__(self, provider_id: str, config: LocalConfig) -> None:
        super().__init__(provider_id, config)
        self.state_dir = (
            config.state_dir or default_data_dir() / "providers" / provider_id
        ).absolute()
        self._bell = Bell(self.state_dir / BELL)
        self._bwrap: Path | None = None
        self._launcher = Launcher(config, self.state_dir, None)
        self._seen_at = 0.0
        self.isolation = "none: not initialized"

    async def initialize(self) -> None:
        if not sys.platform.startswith("linux"):
            raise Unavailable("the `local` provider runs on Linux only")
        await self._blocking(self._make_state_dir)
        self._bwrap = await self._choose_isolation()
        self._launcher = Launcher(self.config, self.state_dir, self._bwrap)

    async def aclose(self) -> None:
        self._bell.close()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            images=False,
            processes=True,
            ports=self.config.network == "host",
            max_cpu=Decimal(os.cpu_count() or 1),
            max_memory=psutil.virtual_memory().total,
            poll_interval=timedelta(seconds=15),
            read_only_root=self._bwrap is not None,
            inputs=True,
            metrics=("cpu", "memory"),
            conditions=self._conditions(),
        )

    def trial(self) -> Trial:
        """Nobody is paid: the machine is the user's own."""
        return super().trial().model_copy(update={"paid": False})

    async def pricing(self) -> PriceSheet:
        return self.config.prices.sheet()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        if self.capabilities().objections(spec):
            return []
        isolation = "bubblewrap" if self._bwrap else "not isolated"
        return [
            Offer(
                provider_id=self.id,
                price_per_hour=self.config.prices.sheet().hourly(spec),
                hardware=f"{os.cpu_count()} cores, {platform.machine()}, {isolation}",
            )
        ]

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        if not is_lease_key(key):
            raise InvalidSpec(f"`{key[:80]}` is no lease key")
        folder = LeaseFolder(self.state_dir, key)
        if not await self._blocking(folder.exists):
            problems = self.capabilities().objections(spec)
            if problems:
                raise Unsuitable(f"`{self.id}` cannot run this job: {'; '.join(problems)}")
            if await self._blocking(self._active_leases) >= self.config.max_jobs:
                raise NoCapacity(
                    f"`{self.id}` runs {self.config.max_jobs} jobs already, its `max_jobs`"
                )
            disk = await self._blocking(Disk.of, self.state_dir, self.config.keep_free)
            if disk.low:
                raise NoCapacity(
                    f"{about_bytes(disk.free)} are free on the disk of `{self.id}`, and "
                    f"{about_bytes(disk.keep_free)} are kept free there (`keep_free`)"
                )
            clash = taken(spec.ports)
            if clash:
                raise NoCapacity(
                    f"port {', '.join(clash)} of this machine is taken by another program or job"
                )
            await self._blocking(self._launcher.prepare, spec, folder)
        return Reservation(ref=_ref(key))

    async def put_inputs(self, reservation: Reservation, archive: Path) -> None:
        """Into the working folder, which nobody but us has touched: nothing has run yet."""
        folder = self._folder(reservation.ref)
        if folder is None or not await self._blocking(folder.exists):
            raise LeaseLost(f"there is no lease `{reservation.ref.key}`")
        if await self._blocking(folder.recorded) is None:
            size = (await self._blocking(archive.stat)).st_size
            disk = await self._blocking(Disk.of, self.state_dir, self.config.keep_free)
            if size > disk.room:
                raise NoCapacity(
                    f"the inputs of the job have {about_bytes(size)}, and the disk of `{self.id}` "
                    f"has room for {about_bytes(disk.room)} more"
                )
            await self._blocking(unpack_inputs, archive, folder.path / "work")

    async def commit(self, reservation: Reservation) -> Committed:
        folder = self._folder(reservation.ref)
        if folder is None:
            raise LeaseLost(f"there is no lease `{reservation.ref.key}`")
        await self._blocking(self._launcher.start, folder)
        return Committed(ref=_ref(folder.key), snapshot=await self._blocking(folder.snapshot))

    async def find(self, key: str) -> Found | None:
        folder = self._folder(_ref(key))
        if folder is None or not await self._blocking(folder.exists):
            return None
        committed = await self._blocking(folder.recorded) is not None
        return Found(ref=_ref(key), committed=committed)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        return await self._blocking(self._statuses, refs)

    async def cancel(self, ref: LeaseRef) -> None:
        folder = self._folder(ref)
        if folder is None:
            return
        passed("file", "before lease fenced")
        status = await self._blocking(folder.fence)
        passed("file", "after lease fenced")
        if status is None or not await self._blocking(lambda: status.shim_alive):
            return
        patience = self.config.stop_grace.total_seconds() + _END_PATIENCE
        await end_process(status.pid, status.ticks, patience)
        # If it had to be killed, this writes down that the lease is lost, and ends what is left.
        await self._blocking(folder.status)

    async def forget(self, ref: LeaseRef) -> None:
        await self.cancel(ref)
        folder = self._folder(ref)
        if folder is not None:
            await self._blocking(remove, folder)

    async def usage(self, ref: LeaseRef) -> Usage:
        folder = self._folder(ref)
        usage = None if folder is None else await self._blocking(folder.usage)
        if usage is None:
            raise LeaseLost(f"there is no lease `{ref.key}`")
        return usage

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        folders = [folder for ref in refs if (folder := self._folder(ref)) is not None]
        return await self._blocking(
            lambda: [sample for folder in folders if (sample := measure(folder)) is not None]
        )

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        folder = self._folder(ref)
        if folder is None:
            return
        reader = LogReader(folder.path / "log", since)
        while True:
            # The state before the log: what was written up to the end is then read for sure.
            over = not follow or (await self._blocking(folder.snapshot)).state.final
            while lines := await self._blocking(reader.read):
                for line in lines:
                    yield line
            for line in await self._blocking(reader.partials):
                yield line
            if over:
                return
            await self._until_news(folder, reader)

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        folder = self._folder(ref)
        agreed = None if folder is None else await self._blocking(folder.agreed)
        if folder is None or agreed is None:
            return Collected.nothing(paths, GONE)
        copier = OutputCopier(
            folder.path / "work",
            agreed.workdir,
            destination,
            max(agreed.storage, LEAST),
            self.config.keep_free,
        )
        collected = await self._blocking(copier.copy, paths)
        collected.left_out += await self._blocking(folder.removed)
        return collected

    async def owned(self) -> list[LeaseRef]:
        return [_ref(key) for key in await self._blocking(self._keys)]

    async def network_status(self) -> NetworkStatus:
        try:
            began = time.monotonic()
            active = await self._blocking(self._active_leases)
        except Unavailable as error:
            return NetworkStatus(reachable=False, message=str(error))
        return NetworkStatus(
            reachable=True,
            latency=timedelta(seconds=time.monotonic() - began),
            version=platform.release(),
            message=f"isolation: {self.isolation}",
            capacity={
                "cores": str(os.cpu_count()),
                "memory": str(psutil.virtual_memory().available),
                "jobs": f"{active} of {self.config.max_jobs}",
            },
        )

    async def wait_for_change(self, timeout: timedelta) -> None:
        """Return when a shim of this machine started, ran or ended, or after `timeout`."""
        seconds = timeout.total_seconds()
        if not self._bell.open():
            seconds = min(seconds, 1.0)  # No watch to be had: look more often.
        await self._bell.wait(seconds)

    def _folder(self, ref: LeaseRef) -> LeaseFolder | None:
        """The folder of a lease of ours; a key is a file name here, so it must be a true one."""
        known = is_lease_key(ref.key) and ref.network_id == ref.key
        return LeaseFolder(self.state_dir, ref.key) if known else None

    def _conditions(self) -> Conditions:
        if self._bwrap is None:
            why = "it has no working folder of that name without bubblewrap"
            return Conditions(carries_names=True, refused={"workdir": why})
        return Conditions(
            carries_names=True,
            taken_workdirs=_sandbox.TAKEN_WORKDIRS,
            system_folders=_sandbox.SYSTEM_FOLDERS,
        )

    def _statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        if time.monotonic() - self._seen_at > _SEEN_INTERVAL:
            (self.state_dir / SEEN).touch()
            self._seen_at = time.monotonic()
        snapshots: list[LeaseSnapshot] = []
        for ref in refs:
            folder = self._folder(ref)
            if folder is None:
                snapshots.append(
                    LeaseSnapshot(key=ref.key, state=RunState.LOST, message="no such lease")
                )
            else:
                snapshots.append(folder.snapshot())
        return snapshots

    def _keys(self) -> list[str]:
        return sorted(name for name in os.listdir(self.state_dir) if is_lease_key(name))

    def _active_leases(self) -> int:
        states = [LeaseFolder(self.state_dir, key).recorded() for key in self._keys()]
        return sum(1 for status in states if status is None or not status.final)

    def _make_state_dir(self) -> None:
        (self.state_dir / BELL).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state_dir.chmod(0o700)
        (self.state_dir / SEEN).touch()
        for path in self.state_dir.glob(f"{TEMPORARY}*"):
            # Of a process that died while it made or removed a lease.
            if path.stat().st_ctime < time.time() - _STALE:
                remove_tree(path)

    async def _choose_isolation(self) -> Path | None:
        bwrap, problem = None, "switched off by `isolation: none`"
        if self.config.isolation != "none":
            bwrap, problem = await self._blocking(_sandbox.find_bubblewrap)
        if bwrap is not None:
            self.isolation = f"bubblewrap, network: {self.config.network}"
            return bwrap
        if self.config.isolation == "bubblewrap" or self.config.network == "none":
            raise Unavailable(f"`{self.id}` must isolate its jobs and cannot: {problem}")
        self.isolation = f"none ({problem}); jobs can do what the worker's user can"
        return None

    async def _until_news(self, folder: LeaseFolder, reader: LogReader) -> None:
        """Wait for more of the log, or for the end of the job, or two seconds."""
        status_file = folder.path / "status.json"
        before = _changed_at(status_file)
        for _ in range(round(2 / _FOLLOW_INTERVAL)):
            await asyncio.sleep(_FOLLOW_INTERVAL)
            # A few looks at files' facts: far cheaper than a thread, for hundreds of followers.
            if reader.has_news() or _changed_at(status_file) != before:
                return

    async def _blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread.

        Raises:
            Unavailable: the state folder cannot be used.
        """
        try:
            return await asyncio.to_thread(partial(function, *args, **kwargs))
        except OSError as error:
            raise Unavailable(
                f"the state folder of provider `{self.id}` cannot be used: {error.strerror}"
            ) from error


def _ref(key: str) -> LeaseRef:
    return LeaseRef(key=key, network_id=key)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
