"""What the processes of a job take of this machine, read from /proc.

CPU time of processes that have ended is with those that waited for them, the shim at last. It is
lost only where a parent ignores the end of its children: then the sum is a little smaller than it
was.
"""

import os
from contextlib import suppress

from cortex.domain.metrics import Sample
from providers.local._lease import LeaseFolder, Status
from providers.local._processes import is_alive
from providers.local.shim.processes import PAGE, descendants, process_stat, shared_memory

_TICKS = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted from the state.
_USER, _SYSTEM, _WAITED_USER, _WAITED_SYSTEM, _RESIDENT = 11, 12, 13, 14, 21


def measure(folder: LeaseFolder) -> Sample | None:
    """What the job takes now; None if it does not run. Blocks shortly."""
    status = folder.recorded()
    if status is None or status.state != "running" or not status.shim_alive:
        return None
    return _measured(folder.key, status)


def _measured(key: str, status: Status) -> Sample | None:
    try:
        shim = process_stat(status.pid)
    except (OSError, IndexError):
        return None
    ticks = int(shim[_WAITED_USER]) + int(shim[_WAITED_SYSTEM])
    memory = 0
    for pid in descendants(status.pid):
        # It may end at any moment. Then it is missing here, and in the next sum with its parent.
        with suppress(OSError, IndexError):
            fields = process_stat(pid)
            ticks += sum(
                int(fields[place]) for place in (_USER, _SYSTEM, _WAITED_USER, _WAITED_SYSTEM)
            )
            memory += shared_memory(pid) or int(fields[_RESIDENT]) * PAGE
    # Another process may have got its number meanwhile.
    if not is_alive(status.pid, status.ticks):
        return None
    return Sample(key=key, cpu_seconds=ticks / _TICKS, memory=memory)
