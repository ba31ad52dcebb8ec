"""The routes of traces and of what is stuck. No I/O."""

from typing import Any

from cortex.client._routes.call import Call, get, job_path, send
from cortex.client.encoding import quoted
from cortex.domain.money import Money
from cortex.domain.trace.model import Trace
from cortex.domain.trace.resolution import ResolveAction
from cortex.schemas.trace import ResolutionView, StuckPage


def trace(subject_id: str) -> Call[Trace]:
    kind = "groups" if subject_id.startswith("grp_") else "jobs"
    return get(f"/{kind}/{quoted(subject_id, safe='')}/trace", Trace)


def stuck(limit: int) -> Call[StuckPage]:
    params = (("limit", str(limit)),)
    return get("/stuck", StuckPage, params)


def resolve(
    job_id: str,
    action: ResolveAction | str,
    *,
    reason: str,
    amount: Money | str | None,
    force: bool,
) -> Call[ResolutionView]:
    body: dict[str, Any] = {"action": str(action), "reason": reason, "force": force}
    if amount is not None:
        body["amount"] = str(amount)
    path = f"{job_path(job_id)}/resolve"
    return send("POST", path, ResolutionView, body, repeatable=False)
