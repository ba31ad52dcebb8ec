"""What a lease at Dispersed has left: output, files, the record of its frames."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath

from cortex.domain.leases import LeaseRef
from providers.base import LogLine
from providers.collected import NOT_SENT, Collected
from providers.dropbox import OUTPUTS, RESULT, DropBox
from providers.outputs import unpack_archive
from providers.render.api import DispersedApi
from providers.render.jobs import drop_name, mark_of, object_of, uuids_of
from providers.render.observed import Observed, observed, shown
from providers.render.wire import WireJob

_OUTPUT = re.compile(r"frames/frame_\d{6,7}\.(?:png|jpg|exr)")
_FOLLOW = 1.0
_MAX_OUTPUT = 10 * 2**30


class Results:
    """Reads them. `drop` is the drop box, where there is one."""

    def __init__(self, api: DispersedApi, drop: DropBox | None) -> None:
        self._api = api
        self.drop = drop

    async def jobs_of(self, ref: LeaseRef) -> list[WireJob]:
        """The lease's jobs, those that the network knows."""
        by_uuid = await self._api.jobs(uuids_of(ref))
        return [by_uuid[uuid] for uuid in uuids_of(ref) if uuid in by_uuid]

    async def observe(self, key: str, job: WireJob, *, logs: bool = True) -> Observed:
        """One job with its newest run, and what was put into the drop box."""
        run = None if job.status == "PENDING" else await self._api.newest_run(job.uuid, logs=logs)
        seen = observed(key, job, run)
        if job.over and seen.log.result is None and self.drop is not None:
            mark = mark_of(job)
            name = drop_name(RESULT, mark.chunk if mark else 0)
            return observed(key, job, run, await self.drop.fetch(key, name))
        return seen

    async def lines(
        self, ref: LeaseRef, since: str | None, *, follow: bool
    ) -> AsyncIterator[LogLine]:
        """Log lines after the cursor; with `follow`, until all jobs of the lease are over."""
        while True:
            seen = [await self.observe(ref.key, job) for job in await self.jobs_of(ref)]
            over = not follow or all(run.job.over for run in seen)
            for number, run in enumerate(seen):
                for line in _after(run, number, len(seen), since):
                    since = line.cursor if len(seen) == 1 else _joined(since, number, line.cursor)
                    told = shown(line, mark_of(run.job))
                    if told is not None:
                        yield told.model_copy(update={"cursor": since})
                for line in run.log.partials():
                    told = shown(line, mark_of(run.job))
                    if told is not None:
                        yield told.model_copy(update={"cursor": since or ""})
            if over:
                return
            await asyncio.sleep(_FOLLOW)

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        """Copy the result files that were sent."""
        if self.drop is None:
            return []
        files = await self._rendered(ref)
        if files is None:
            return await self._unpacked(ref, paths, destination)
        written: list[Path] = []
        for path in files:
            if PurePosixPath(path).parts[0] not in paths:
                continue
            target = destination / path
            await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
            if await self.drop.download(ref.key, object_of(path), target):
                written.append(Path(path))
        return sorted(written)

    async def _unpacked(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> Collected:
        with tempfile.TemporaryDirectory(prefix="cortex-render-") as folder:
            archive = Path(folder) / OUTPUTS
            if self.drop is None or not await self.drop.download(ref.key, OUTPUTS, archive):
                return Collected.nothing(paths, NOT_SENT)
            return await asyncio.to_thread(unpack_archive, archive, paths, destination, _MAX_OUTPUT)

    async def _rendered(self, ref: LeaseRef) -> list[str] | None:
        """The files of a render job that were sent; None for a container job."""
        paths: list[str] = []
        for job in await self.jobs_of(ref):
            mark = mark_of(job)
            if mark is None or not mark.frames:
                return None
            entries = (await self.observe(ref.key, job)).frames()
            for number in mark.frames:
                output = entries[number].output if number in entries else None
                if output is not None and _OUTPUT.fullmatch(output):
                    paths += [output, f"previews/{PurePosixPath(output).stem}.png"]
        return paths

    async def objects(self, ref: LeaseRef) -> list[str]:
        """All that a lease may have left in the drop box."""
        notes = [drop_name(RESULT, chunk) for chunk in range(max(1, len(uuids_of(ref))))]
        return [*notes, OUTPUTS, *map(object_of, await self._rendered(ref) or [])]


def _after(run: Observed, number: int, count: int, since: str | None) -> list[LogLine]:
    """The lines of one job after the cursor; of several jobs, a cursor has a part for each."""
    if since is None or count == 1:
        return run.log.lines(since)
    parts = since.split("/")
    return run.log.lines(parts[number] if number < len(parts) and parts[number] else None)


def _joined(since: str | None, number: int, cursor: str) -> str:
    parts = since.split("/") if since else []
    parts += [""] * (number + 1 - len(parts))
    parts[number] = cursor
    return "/".join(parts)
