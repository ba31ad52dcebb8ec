"""The routes of the explorer: how each request is built and its answer read. No I/O."""

from typing import Any

from cortex.client._routes.jobs import Call
from cortex.client.encoding import encode, quoted
from cortex.domain.money import Money
from cortex.domain.resolution import ResolveAction
from cortex.domain.trace.model import Trace
from cortex.schemas.trace import ResolutionView, StuckPage

_V1 = "/api/v1"


def trace(subject_id: str) -> Call[Trace]:
    kind = "groups" if subject_id.startswith("grp_") else "jobs"
    path = f"{_V1}/{kind}/{quoted(subject_id, safe='')}/trace"
    return Call("GET", path, Trace.model_validate_json)


def stuck(limit: int) -> Call[StuckPage]:
    params = (("limit", str(limit)),)
    return Call("GET", f"{_V1}/stuck", StuckPage.model_validate_json, params)


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
    return Call(
        "POST",
        f"{_V1}/jobs/{quoted(job_id, safe='')}/resolve",
        ResolutionView.model_validate_json,
        body=encode(body),
        headers={"Content-Type": "application/json"},
        repeatable=False,
    )
