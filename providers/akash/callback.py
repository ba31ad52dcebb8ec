"""The runner's own word about the end of a command, left in the drop box by images that can.

It outlives the lease: a provider that vanishes after the command has ended takes no exit code with
it. Where result files were declared, they are gone all the same, and the job is run again.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cortex.domain.leases import LeaseRef
from cortex.domain.spec import MAX_DURATION, JobSpec
from providers.akash.deployment.snapshots import Run, is_batch
from providers.akash.names import born
from providers.dropbox import INPUTS, RESULT, DropBox
from providers.errors import InvalidSpec, Unavailable
from providers.runner import RunnerResult, RunnerUrls

GetDrop = Callable[[], DropBox | None]
_LIFETIME = 2 * MAX_DURATION
_FILES = "files"


class Callback:
    """Links for runners, and what has come over them."""

    def __init__(self, drop: GetDrop, mark: str) -> None:
        self._drop = drop
        self._mark = mark

    def urls(self, key: str, spec: JobSpec) -> RunnerUrls | None:
        """Where the runner of this lease reports to and gets its files; always the same links,
        since they are part of the manifest, which may have to be made again.
        """
        drop = self._drop()
        if drop is None:
            return None
        # Half a second: so that the time that passes here never moves the whole second.
        until = int((born(key) + _LIFETIME).timestamp()) + 0.5
        left = timedelta(seconds=until - time.time())
        inputs = drop.get_url(key, INPUTS, left) if spec.inputs else None
        return RunnerUrls(result=drop.put_url(key, RESULT, left), inputs=inputs)

    async def put_inputs(self, key: str, archive: Path) -> None:
        """Leave the files of a job where its runner gets them.

        Raises:
            InvalidSpec: they are too large, or there is no drop box.
        """
        drop = self._drop()
        if drop is None:
            raise InvalidSpec("files for a job need a drop box")
        await drop.upload(key, INPUTS, archive)

    @staticmethod
    def data(spec: JobSpec) -> dict[str, str]:
        """What a reference must say of the job for `last_word`."""
        return {_FILES: "1"} if spec.outputs else {}

    async def last_word(self, ref: LeaseRef) -> Run:
        """How the command of a lease ended that is gone; nothing is known of one with files."""
        drop = self._drop()
        if drop is None or ref.data.get(_FILES) or not is_batch(ref, self._mark):
            return Run()
        if "bid" not in ref.data:  # found without its reservation: it may have had files
            return Run()
        try:
            raw = await drop.fetch(ref.key, RESULT)
        except Unavailable:
            return Run()
        return Run(result=_read(raw))

    async def forget(self, ref: LeaseRef) -> None:
        """Remove what was left."""
        drop = self._drop()
        if drop is not None:
            await drop.delete(ref.key, RESULT)
            await drop.delete(ref.key, INPUTS)


def _read(raw: bytes | None) -> RunnerResult | None:
    try:
        told = json.loads(raw or b"null")
        ended = datetime.fromtimestamp(int(told["finished_at"]), UTC)
        stopped = told.get("stopped") is True
        return RunnerResult(int(told["exit_code"]), None, ended, stopped=stopped)
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
