"""Wraps a command for networks that restart what exits and report no exit code.

`wrap` gives what to run instead of the job's command; `RunnerLog` reads what that prints. The
script itself is `runner.sh`; it needs no tools in the image but a POSIX shell.
"""

from providers.runner.handover import HANDOVER_URL, hand_over, sealed
from providers.runner.log import RunnerLog, RunnerResult
from providers.runner.wrap import RunnerUrls, Wrapped, wrap

__all__ = [
    "HANDOVER_URL",
    "RunnerLog",
    "RunnerResult",
    "RunnerUrls",
    "Wrapped",
    "hand_over",
    "sealed",
    "wrap",
]
