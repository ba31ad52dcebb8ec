"""Small file work of the embedded stack: private atomic writes, log files bounded in size."""

import contextlib
import os
import shlex
import shutil
from pathlib import Path
from typing import IO

from cortex.disk import Disk
from cortex.domain.units import about_bytes
from cortex.settings import default_data_dir

LOG_LIMIT = 8 * 2**20
# PostgreSQL adds log files of 16 MiB; with less than a few of these left, writes begin to fail.
LITTLE_SPACE = 64 * 2**20


def cortex_on(data_dir: Path) -> str:
    """The command for a data folder, for hints: with `--data-dir` if it is not the usual one."""
    usual = data_dir.resolve() == default_data_dir().resolve()
    return "cortex" if usual else f"cortex --data-dir {shlex.quote(str(data_dir))}"


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Put the file there whole, in one step; only its owner may read it.

    Raises:
        FileExistsError: there is one and `replace` is off.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def open_log(path: Path) -> IO[bytes]:
    """Open for appending, so that the file can be cut while a child writes to it."""
    trim_log(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)


def trim_log(path: Path, limit: int = LOG_LIMIT) -> None:
    """Beyond the limit (bytes), move the content to `<name>.1` and start over.

    The writer keeps its descriptor: children write to the file itself and not through us, so that
    they lose nothing and do not stop when the supervisor dies. A line written between the copy and
    the cut is lost; that is the price.
    """
    with contextlib.suppress(OSError):  # a full disk must not end the supervisor
        if path.stat().st_size > limit:
            with contextlib.suppress(OSError):
                shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)


def last_lines(path: Path, count: int = 20, *, since: int = 0) -> list[str]:
    """The last lines of a log, from the byte `since` on; none if there is no file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = since if since <= end else 0  # the file was cut meanwhile
            file.seek(max(start, end - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-count:]


def free_bytes(path: Path) -> int:
    """Free space for us on the file system of this path."""
    return shutil.disk_usage(path).free


def disk_warning(data_dir: Path, keep_free: int | None = None) -> str | None:
    """Plain words if there is little space left for the stack's data; None if there is enough.

    Args:
        data_dir: The stack's folder.
        keep_free: Bytes that are little; None: the usual number for this disk.
    """
    try:
        disk = Disk.of(data_dir, keep_free)
    except OSError:
        return None
    if not disk.low:
        return None
    return (
        f"The disk is nearly full: {disk.free / 2**20:.0f} MiB are free in {data_dir}, and "
        f"{about_bytes(disk.keep_free)} are kept free there for PostgreSQL and Temporal "
        "(`disk.keep_free`). Until there is more, no local job starts, the largest that runs is "
        "ended, and results are kept only as far as they fit. Free some space there: "
        f"{data_dir / 'outputs'} has the results of jobs, {data_dir / 'logs'} what servers log."
    )
