"""The routes about reconcile: how each request is built and its answer read. No I/O."""

from cortex.client._routes.jobs import Call
from cortex.client.encoding import encode, quoted
from cortex.client.streams import Params
from cortex.schemas.reconcile import FindingPage, ReconcileReport

_V1 = "/api/v1"


def run(provider_id: str | None, *, dry_run: bool) -> Call[ReconcileReport]:
    return Call(
        "POST",
        f"{_V1}/reconcile",
        ReconcileReport.model_validate_json,
        body=encode({"provider": provider_id, "dry_run": dry_run}),
        headers={"Content-Type": "application/json"},
    )


def report(run_id: str) -> Call[ReconcileReport]:
    path = f"{_V1}/reconcile/runs/{quoted(run_id, safe='')}"
    return Call("GET", path, ReconcileReport.model_validate_json)


def findings(
    *, closed: bool, kind: str | None, provider: str | None, limit: int, cursor: str | None
) -> Call[FindingPage]:
    params: Params = (("all", "true" if closed else "false"), ("limit", str(limit)))
    given = (("kind", kind), ("provider", provider), ("cursor", cursor))
    params += tuple((name, value) for name, value in given if value is not None)
    return Call("GET", f"{_V1}/reconcile/findings", FindingPage.model_validate_json, params)
