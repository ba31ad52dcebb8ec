"""Small disks of their own, for tests that fill one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.stack import short_folder


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of this size (as `mount` takes it), or the test is skipped."""
    with short_folder("ctx-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
