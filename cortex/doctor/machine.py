"""This machine: its disk, the data folder, what a process may open, what is installed."""

import os
import platform
import resource
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cortex.disk import Disk
from cortex.doctor.findings import Finding, fault, fine, first_line, warning
from cortex.settings import Settings

_FEW_FILES: Final = 4096
"""A WebSocket, a stream and a database connection are one each."""


def check_machine(settings: Settings) -> list[Finding]:
    """Never raises: what cannot be looked at is a finding."""
    return [
        _versions(),
        _folder(settings.data_dir),
        _disk(settings.data_dir),
        _open_files(),
    ]


def _versions() -> Finding:
    return fine(
        "versions",
        f"cortex {version('cortex-orchestrator')}, Python {platform.python_version()}, "
        f"temporalio {version('temporalio')}, psycopg {version('psycopg')}",
    )


def _folder(folder: Path) -> Finding:
    name = "data folder"
    try:
        mode = folder.stat().st_mode
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileNotFoundError:
        fix = f"make it, for the user that Cortex runs as: `mkdir -m 700 -p {folder}`"
        return fault(name, f"{folder} is not there", fix)
    except NotADirectoryError:
        return fault(name, f"{folder} is no folder", "remove it, or choose another `data_dir`")
    except OSError as error:
        user = f"user id {os.geteuid()}"
        fix = f"give it to the user that Cortex runs as (here: {user})"
        return fault(name, f"{folder} cannot be written: {error.strerror}", fix)
    if stat.S_IMODE(mode) & stat.S_IRWXO:
        detail = f"{folder} is open to every user of this machine, with the outputs of all jobs"
        return warning(name, detail, f"`chmod o-rwx {folder}`")
    return fine(name, str(folder))


def _disk(folder: Path) -> Finding:
    name = "disk"
    try:
        disk = Disk.of(folder)
    except OSError as error:
        return fault(name, f"nothing can be said about it: {first_line(error)}", "look at `df`")
    free, total, keep = (number >> 20 for number in (disk.free, disk.total, disk.keep_free))
    detail = f"{free:,} of {total:,} MiB are free where {folder} is"
    if disk.low:
        fix = f"free some, or shorten `retention`: {keep:,} MiB are kept, and no more outputs taken"
        return fault(name, detail, fix)
    if disk.free < 2 * disk.keep_free:
        return warning(
            name, detail, f"free some soon: below {keep:,} MiB no more outputs are taken"
        )
    return fine(name, detail)


def _open_files() -> Finding:
    name = "open files"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        detail = f"a process may open {soft:,} files and connections"
        fix = f"`ulimit -n {_FEW_FILES * 4}`, or `LimitNOFILE=` of its systemd unit"
        return warning(name, detail, fix)
    return fine(name, "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} per process")
