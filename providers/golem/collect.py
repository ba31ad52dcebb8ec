"""Getting things out of a running activity: its log and its result files.

Both are gone with the activity; `stop` comes before, so that they can be had.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cortex.domain.leases import LeaseRef
from providers.base import LogLine, looked_at
from providers.collected import GONE, NOTHING_MATCHED, Collected
from providers.dropbox import OUTPUTS, DropBox
from providers.errors import InvalidSpec, OutcomeUnknown, ProviderError, Unavailable
from providers.golem import demand as names
from providers.golem.activities import Activities, UnitGone, ran
from providers.golem.agreements import Agreements, expired
from providers.golem.config import GolemConfig
from providers.golem.glance import PIECE, Viewer
from providers.golem.guest import Guest
from providers.golem.sealed import unseal
from providers.outputs import unpack_archive

_PACK_PATIENCE = 300.0
_STOP_PATIENCE = 30.0
_SMALL = 2**20
_LINK = timedelta(minutes=30)
_STOP_LOOK = 5.0
_FOLLOW_EVERY = 0.5
_LOOK_WAITS = 2.0
"""Seconds that a look waits for news while somebody looks on. A stop waits for it."""
_ENDED = ("Terminated", "Cancelled", "Rejected", "Expired")


@dataclass(frozen=True)
class Collector:
    """Reads logs and files of leases that are still there."""

    config: GolemConfig
    agreements: Agreements
    activities: Activities
    viewer: Viewer
    drop: Callable[[], DropBox | None]

    async def logs(self, ref: LeaseRef, since: str | None, follow: bool) -> AsyncIterator[LogLine]:
        """The lines after a cursor; with `follow`, until the job has ended or is gone."""
        cursor, known, looked = since, 0, looked_at.get()
        while True:
            activity_id = await self.live(ref)
            if activity_id is None:
                if not follow or await self._gone(ref):
                    return
                await asyncio.sleep(_FOLLOW_EVERY)
                continue
            over, wait = False, _LOOK_WAITS if follow and looked() else 0
            try:
                reading = self.viewer.pieces(activity_id, ref.key, cursor, wait=wait, known=known)
                async for piece in reading:
                    known = piece.end
                    over = piece.over  # a log that is read after the end is a whole one
                    for line in piece.lines:
                        cursor = line.cursor
                        yield line
            except UnitGone:
                return
            except Unavailable:
                if await self.live(ref) is None:
                    return  # it was cancelled while it was read
                raise
            if over or not follow:
                return
            await self._pause(looked)

    async def _pause(self, looked: Callable[[], bool]) -> None:
        """Between two looks: each is a batch that the provider keeps until the activity ends."""
        until = time.monotonic() + self.config.log_poll.total_seconds()
        await asyncio.sleep(_FOLLOW_EVERY)
        while not looked() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _FOLLOW_EVERY))

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        """The declared files, below `destination`."""
        activity_id = await self.live(ref)
        wanted = [path for path in paths if _inside(path)]
        if activity_id is None or not wanted:
            return Collected.nothing(wanted, GONE)
        guest = Guest(self.config, ref.key)
        folder = await self._folder(ref)
        try:
            told = await self.activities.ask(
                activity_id, guest.pack(folder, wanted), 4096, _PACK_PATIENCE
            )
            if not told.ok:
                text = told.stderr.decode(errors="replace").strip() or told.message
                raise Unavailable(f"the outputs cannot be packed at the provider: {text[:200]}")
            size = int(told.stdout.strip() or b"0")
            if size > self.config.max_output_bytes:
                raise InvalidSpec(
                    f"the packed outputs have {size} bytes; this provider copies at most "
                    f"{self.config.max_output_bytes} (`max_output_bytes`)"
                )
            return await self._fetch(activity_id, guest, size, wanted, destination)
        except UnitGone:
            return Collected.nothing(wanted, GONE)

    async def stop(self, ref: LeaseRef) -> None:
        """Ask the job to end and wait for it, for half a minute at most."""
        activity_id = await self.live(ref)
        if activity_id is None:
            return
        guest = Guest(self.config, ref.key)
        ends = time.monotonic() + _STOP_PATIENCE
        try:
            await self.activities.ask(activity_id, guest.stop(), 256, 10)
            while (left := ends - time.monotonic()) > 0:
                if await self.viewer.ends(activity_id, ref.key, min(left, _STOP_LOOK)):
                    return
        except ProviderError:
            return

    async def live(self, ref: LeaseRef) -> str | None:
        """The activity in which the job can be asked; None where there is none."""
        agreement = await self.agreements.get(ref.network_id)
        if agreement is None or agreement.state in _ENDED:
            return None
        for activity_id in reversed(await self.activities.of(agreement.agreement_id)):
            state = await self.activities.state(activity_id)
            if state is not None and state.state == ("Ready", None):
                return activity_id
        return None

    async def _gone(self, ref: LeaseRef) -> bool:
        """Whether nothing of it will ever be live again."""
        agreement = await self.agreements.get(ref.network_id)
        if agreement is None or agreement.state in _ENDED or expired(agreement):
            return True
        states = [
            await self.activities.state(activity_id)
            for activity_id in await self.activities.of(agreement.agreement_id)
        ]
        return bool(states) and all(
            state is None or state.state[0] == "Terminated" for state in states
        )

    async def _folder(self, ref: LeaseRef) -> str:
        agreement = await self.agreements.get(ref.network_id)
        if agreement is None:
            return ""
        sealed = str(agreement.demand.properties.get(names.SEALED, ""))
        return unseal(sealed, ref.key, self.config.app_key.get_secret_value()).workdir

    async def _fetch(
        self, activity_id: str, guest: Guest, size: int, wanted: Sequence[str], destination: Path
    ) -> Collected:
        if not size:
            return Collected.nothing(wanted, NOTHING_MATCHED)
        with tempfile.TemporaryDirectory(prefix="cortex-golem-") as folder:
            archive = Path(folder) / "outputs.tar"
            if size <= _SMALL or not await self._dropped(activity_id, guest, archive):
                await self._in_pieces(activity_id, guest, size, archive)
            return await asyncio.to_thread(
                unpack_archive, archive, wanted, destination, self.config.max_output_bytes
            )

    async def _dropped(self, activity_id: str, guest: Guest, archive: Path) -> bool:
        """Let the provider put the archive into the drop box, where there is one that it reaches.

        The provider's machine does that, not the job's: it needs no way out of its own.
        """
        drop = self.drop()
        if drop is None:
            return False
        link = drop.put_url(guest.key, OUTPUTS, _LINK)
        put = {"transfer": {"from": f"container:{guest.archive}", "to": link}}
        try:
            batch = await self.activities.start(activity_id, [put])
            done = await self.activities.finished(activity_id, batch, _LINK.total_seconds())
        except (OutcomeUnknown, Unavailable):
            return False
        if not done or not ran(done[0]).ok:
            return False
        arrived = await drop.download(guest.key, OUTPUTS, archive)
        await drop.delete(guest.key, OUTPUTS)
        return arrived

    async def _in_pieces(self, activity_id: str, guest: Guest, size: int, archive: Path) -> None:
        if size > self.config.max_inline_bytes:
            raise InvalidSpec(
                f"the packed outputs have {size} bytes; without a drop box that the provider "
                f"reaches at most {self.config.max_inline_bytes} are copied (`max_inline_bytes`)"
            )
        with archive.open("wb") as out:
            at = 0
            while at < size:
                piece = await self.activities.ask(activity_id, guest.piece(at), PIECE, 60)
                if not piece.stdout:
                    raise Unavailable("the provider sent a part of the outputs only")
                await asyncio.to_thread(out.write, piece.stdout)
                at += len(piece.stdout)


def _inside(path: str) -> bool:
    return ".." not in path.split("/") and "\0" not in path and path.strip() != ""
