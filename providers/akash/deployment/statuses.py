"""How leases do: the network's list, each deployment's detail, the runner's last lines.

A command is ended here as well, so that its results can still be fetched: they go with the lease.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.units import format_duration
from providers.akash.callback import Callback
from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.client import Console
from providers.akash.deployment import snapshots
from providers.akash.deployment.snapshots import Run
from providers.akash.gateway.client import Gateway, NotProven
from providers.akash.gateway.logs import Logs
from providers.akash.market import Market
from providers.errors import LeaseLost, Unavailable

_AT_ONCE = 8
_KEPT = 5000
_FEW = 4
_DETAIL_KEPT = 60.0
_TOLD_AFTER = 2
_TROUBLE_LIMIT = 0.25
# The first process of the container is the runner, which hands the signal on to the command.
_TERM = "kill -TERM 1"
_PATIENCE = 30.0
_PAUSE = 0.3


@dataclass
class _Seen:
    """What is remembered of one lease; all of it can be learned again."""

    run: Run = field(default_factory=Run)
    ran: bool = False
    dark_since: float | None = None
    blind_since: float | None = None
    detail: wire.Detail | None = None
    read_at: float = 0.0


class Statuses:
    """Makes snapshots, and asks commands to end."""

    def __init__(
        self,
        console: Console,
        config: AkashConfig,
        market: Market,
        gateway: Gateway,
        logs: Logs,
        callback: Callback,
    ) -> None:
        self._console = console
        self._config = config
        self._market = market
        self._gateway = gateway
        self._logs = logs
        self._callback = callback
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def of(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        """Snapshots; what nothing can be said of now is left out."""
        listed: dict[str, wire.Detail] = {}
        if len(refs) > _FEW:
            listed = {detail.dseq: detail for detail in await self._console.active()}
        told = await asyncio.gather(*(self._bounded(ref, listed) for ref in refs))
        return [snapshot for snapshot in told if snapshot is not None]

    def forget(self, ref: LeaseRef) -> None:
        """Nothing more will be asked of it."""
        self._seen.pop(ref.network_id, None)

    async def stop(self, ref: LeaseRef) -> None:
        """Returns when the command has ended, or after half a minute.

        A service is left alone: its container would be started again, without its files.
        """
        if not ref.network_id.isdecimal() or not snapshots.is_batch(ref, self._config.mark):
            return
        if await self._has_ended(ref):
            return
        detail = await self._console.detail(ref.network_id)
        lease = detail.lease if detail is not None and detail.active else None
        if lease is None or not lease.live:
            return
        deadline = time.monotonic() + _PATIENCE
        pause, told = _PAUSE, False
        try:
            async with asyncio.timeout(_PATIENCE):
                while time.monotonic() < deadline:
                    told = told or await self._tell(lease.id)
                    if await self._has_ended(ref):
                        return
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 3.0)
        except (LeaseLost, TimeoutError):
            return

    async def _tell(self, lease: wire.BidId) -> bool:
        """Send the signal; whether it has gone out, or may have: a second one could cut short
        what the command does at the first.

        Raises:
            LeaseLost: nobody is there any more.
        """
        try:
            done = await self._gateway.execute(lease, _TERM, (), lambda _data: None)
        except NotProven as error:
            return error.began
        except Unavailable:
            return False
        return done.code == 0

    async def _has_ended(self, ref: LeaseRef) -> bool:
        """Whether its command has ended, as far as can be told now."""
        snapshot = await self._one(ref, {})
        return snapshot is not None and snapshot.state.final

    async def _bounded(self, ref: LeaseRef, listed: dict[str, wire.Detail]) -> LeaseSnapshot | None:
        async with self._slots:
            return await self._one(ref, listed)

    async def _one(self, ref: LeaseRef, listed: dict[str, wire.Detail]) -> LeaseSnapshot | None:
        if not ref.network_id.isdecimal():
            return snapshots.lost(ref, "the network knows nothing of it")
        seen = self._remember(ref.network_id)
        known = snapshots.exited(ref, seen.run)
        detail = await self._detail(ref.network_id, listed, seen)
        if detail is None:
            return known or snapshots.lost(ref, "the network knows nothing of it")
        lease = detail.lease
        label = await self._market.label(lease.id.provider) if lease is not None else ""
        why = snapshots.why_lost(detail, lease, label)
        if why is not None:
            return known or await self._gone(ref, why, seen)
        if lease is None:
            return snapshots.starting(ref, "waits for its lease")
        if lease.status is None:
            return await self._dark(ref, lease, seen)
        seen.dark_since = None
        if not lease.status.ready:
            return await self._not_ready(ref, lease, seen)
        return await self._ready(ref, lease, lease.status, seen)

    async def _detail(
        self, dseq: str, listed: dict[str, wire.Detail], seen: _Seen
    ) -> wire.Detail | None:
        """Details are slow: of a lease that is listed and has run, one a minute is enough."""
        fresh, kept = listed.get(dseq), seen.detail
        young = seen.ran and time.monotonic() - seen.read_at < _DETAIL_KEPT
        if young and fresh is not None and fresh.lease is not None and kept is not None:
            status = kept.lease.status if kept.lease is not None else None
            lease = fresh.lease.model_copy(update={"status": status})
            return fresh.model_copy(update={"leases": [lease]})
        detail = await self._console.detail(dseq)
        seen.detail, seen.read_at = detail, time.monotonic()
        return detail

    async def _ready(
        self, ref: LeaseRef, lease: wire.Lease, status: wire.LeaseStatus, seen: _Seen
    ) -> LeaseSnapshot | None:
        ports = snapshots.endpoints(ref, status, self._config.mark)
        if snapshots.is_batch(ref, self._config.mark) and seen.run.result is None:
            try:
                seen.run = await self._logs.run(ref.key, lease.id, seen.run)
            except (LeaseLost, Unavailable) as error:
                seen.detail = None  # look closely next time
                return await self._blind(ref, lease, str(error), seen)
        seen.ran, seen.blind_since = True, None
        return snapshots.exited(ref, seen.run, ports) or snapshots.running(
            ref, lease, seen.run, ports
        )

    async def _blind(
        self, ref: LeaseRef, lease: wire.Lease, why: str, seen: _Seen
    ) -> LeaseSnapshot | None:
        """The container is up, as the Console has it, but its provider's gateway does not tell.

        A little of that says nothing. Later it is told; at last the job is better off elsewhere:
        neither its end nor its files would ever come.
        """
        now = time.monotonic()
        if seen.blind_since is None:
            seen.blind_since = now
        blind = timedelta(seconds=now - seen.blind_since)
        if blind < _TOLD_AFTER * self._config.poll:
            return None
        if blind >= self._config.dark_after:
            word = await self._callback.last_word(ref)
            if word.result is not None:
                seen.run = Run(seen.run.started_at, word.result)
                return snapshots.exited(ref, seen.run)
        if blind >= 3 * self._config.dark_after:
            self._market.failed(lease.id.provider)
            whole = format_duration(timedelta(seconds=round(blind.total_seconds())))
            return snapshots.lost(ref, f"{why}; so for {whole}, and the job is given up there")
        known = snapshots.running(ref, lease, seen.run, ())
        return known.model_copy(update={"message": f"{why}; Cortex keeps asking"})

    async def _dark(self, ref: LeaseRef, lease: wire.Lease, seen: _Seen) -> LeaseSnapshot | None:
        """The provider does not answer: that alone says nothing of the job."""
        seen.detail = None
        now = time.monotonic()
        if seen.dark_since is None:
            seen.dark_since = now
        dark = timedelta(seconds=now - seen.dark_since)
        if dark < self._config.dark_after:
            return None
        info = await self._console.provider(lease.id.provider)
        if info is not None and info.is_online and dark < 3 * self._config.dark_after:
            return None
        label = info.label if info is not None else lease.id.provider
        self._market.failed(lease.id.provider)
        whole = timedelta(seconds=round(dark.total_seconds()))
        why = f"provider {label} has not answered for {format_duration(whole)}; it is given up"
        return await self._gone(ref, why, seen)

    async def _gone(self, ref: LeaseRef, why: str, seen: _Seen) -> LeaseSnapshot:
        """The lease is no more; its command may have ended before."""
        word = await self._callback.last_word(ref)
        if word.result is None:
            return snapshots.lost(ref, why)
        seen.run = Run(seen.run.started_at, word.result)
        return snapshots.exited(ref, seen.run) or snapshots.lost(ref, why)

    async def _not_ready(
        self, ref: LeaseRef, lease: wire.Lease, seen: _Seen
    ) -> LeaseSnapshot | None:
        if seen.ran:
            message = "the provider starts the container again"
            return snapshots.running(ref, lease, seen.run, ()).model_copy(
                update={"message": message}
            )
        label = await self._market.label(lease.id.provider)
        age = await self._age(lease)
        trouble = await self._trouble(lease)
        if trouble is not None and trouble.unfit:
            why = f"provider {label}: {trouble.text}"
            return snapshots.lost(ref, why, unfit=True, image=trouble.image)
        within = self._config.ready_within * (_TROUBLE_LIMIT if trouble else 1)
        if age < within:
            text = trouble.text if trouble else f"provider {label} prepares the container"
            return snapshots.starting(ref, text)
        self._market.failed(lease.id.provider)
        why = "the image may be large or cannot be pulled, or the command fails at once"
        why = trouble.text if trouble else why
        return snapshots.lost(
            ref,
            f"the container did not come up at provider {label} within "
            f"{format_duration(within)}: {why}",
            image=trouble.image if trouble else "",
        )

    async def _trouble(self, lease: wire.Lease) -> snapshots.Trouble | None:
        """What Kubernetes says against the container, if anything."""
        try:
            return snapshots.container_trouble(await self._gateway.events(lease.id))
        except (LeaseLost, Unavailable):
            return None

    async def _age(self, lease: wire.Lease) -> timedelta:
        height = (await self._console.height()).height
        blocks = max(0, height - int(lease.created_at or 0))
        return timedelta(seconds=float(blocks * self._config.block_seconds))

    def _remember(self, dseq: str) -> _Seen:
        seen = self._seen.setdefault(dseq, _Seen())
        self._seen.move_to_end(dseq)
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return seen
