"""Fault points: places where a test may kill this process, to prove that it does no harm.

Off unless `CORTEX_FAULTPOINTS` names a plan and `CORTEX_FAULTPOINTS_MAY_KILL` is `yes`; then `arm`,
which the main programs call, makes `active`. Where it is None a boundary costs one comparison.

A plan is a file with JSON: `trace`, a file that gets one line per boundary (number, kind, where;
tabs between), and where to die: `at`, a number, or `kind`, `where` and `nth`, which name a
boundary however many others come in between. Without either nothing dies: a probe.
"""

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Literal

Kind = Literal["activity", "commit", "http", "socket", "file", "temporal"]
PLAN: Final = "CORTEX_FAULTPOINTS"
ALLOWED: Final = "CORTEX_FAULTPOINTS_MAY_KILL"
# Ids in a path: what has a digit in it or is long, but for versions of an API.
_VARIES = re.compile(r"(?!v\d+$)(?:.*\d.*|.{25,})")


class Plan:
    """Counts the boundaries, writes them down, and ends the process at the one that was chosen."""

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            plan: dict[str, Any] = json.load(file)
        self._at: int | None = plan.get("at")
        self._kind, self._where = plan.get("kind"), plan.get("where")
        self._nth = int(plan.get("nth", 1))
        # Unbuffered: the last line must be there when the process is not.
        self._trace = os.open(plan["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._seen: Counter[tuple[str, str]] = Counter()
        self._number = 0
        self._lock = threading.Lock()

    def passed(self, kind: Kind, where: str) -> None:
        """Pass a boundary, or end there."""
        with self._lock:
            self._number += 1
            self._seen[kind, where] += 1
            nth = self._seen[kind, where]
            os.write(self._trace, f"{self._number}\t{kind}\t{where}\n".encode())
            if self._number == self._at or (kind, where, nth) == self._named:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()  # it takes effect at once, in this thread or another

    @property
    def _named(self) -> tuple[str | None, str | None, int]:
        return self._kind, self._where, self._nth


active: Plan | None = None


def arm(environment: Mapping[str, str] = os.environ) -> bool:
    """Follow the plan that the environment names; whether there is one that may be followed."""
    global active
    path = environment.get(PLAN)
    allowed = environment.get(ALLOWED) == "yes"
    active = Plan(path) if path and allowed else None
    return active is not None


def passed(kind: Kind, where: str) -> None:
    """A boundary is passed: `where` says which, without any id, alike in every run."""
    if active is not None:
        active.passed(kind, where)


def http_hooks(who: str) -> dict[str, list[Any]]:
    """The `event_hooks` of an httpx client: before a request is sent, after its answer began."""
    if active is None:
        return {}

    async def before(request: Any) -> None:
        passed("http", f"before {_call(who, request)}")

    async def after(response: Any) -> None:
        passed("http", f"after {_call(who, response.request)}")

    return {"request": [before], "response": [after]}


def path_form(path: str) -> str:
    """A path without what varies from call to call: ids, hashes, tokens become `*`."""
    return "/".join("*" if _VARIES.fullmatch(part) else part for part in path.split("/"))


def _call(who: str, request: Any) -> str:
    return f"{who} {request.method} {path_form(str(request.url.path))}"
