"""scripts/make-venv.sh with a Python that lacks something; `make` itself uses a full one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[2] / "scripts" / "make-venv.sh"


@pytest.fixture
def hide(tmp_path: Path) -> Path:
    """A folder for modules that stand before the real ones and refuse to be imported."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    return folder


def make_venv(python: str, folder: Path, hidden: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(_SCRIPT), python, str(folder)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(hidden)},
        capture_output=True,
        text=True,
    )


def test_without_ensurepip_and_pip_it_says_what_to_install(tmp_path: Path, hide: Path) -> None:
    for name in ("ensurepip", "pip"):
        (hide / f"{name}.py").write_text("raise ImportError")
    done = make_venv(sys.executable, tmp_path / "venv", hide)
    assert done.returncode == 1
    assert "has no ensurepip" in done.stderr
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install python{version}-venv" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_not_there(tmp_path: Path, hide: Path) -> None:
    done = make_venv("python-of-tomorrow", tmp_path / "venv", hide)
    assert done.returncode == 1
    assert "`python-of-tomorrow` is not on this machine" in done.stderr


def test_a_python_that_is_too_old(tmp_path: Path, hide: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    done = make_venv(str(old), tmp_path / "venv", hide)
    assert done.returncode == 1
    assert "is Python 3.9, and Cortex needs 3.11 or newer" in done.stderr
