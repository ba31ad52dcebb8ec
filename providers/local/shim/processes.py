"""Looking at and acting on processes, through /proc and a few system calls."""

import ctypes
import os
import resource

SUBREAPER = 36
DEATH_SIGNAL = 1
PAGE = os.sysconf("SC_PAGE_SIZE")


def process_stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on (index 0 is the state)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].decode().split()


def descendants(root: int) -> list[int]:
    """All processes below `root`, parents first."""
    pids: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    below = [int(word) for word in file.read().split()]
                pids += below
                todo += below
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pids


def children(pid: int) -> list[int]:
    """The direct children of a process with one thread."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def shared_memory(pid: int) -> int:
    """Its memory, with a share of what it has in common with others (PSS)."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
