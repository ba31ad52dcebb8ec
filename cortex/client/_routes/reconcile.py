"""The routes about reconcile: how each request is built and its answer read. No I/O."""

from cortex.client._routes.call import Call, get, post
from cortex.client.encoding import quoted
from cortex.client.streams import Params
from cortex.schemas.reconcile import FindingPage, ReconcileReport


def run(provider_id: str | None, *, dry_run: bool) -> Call[ReconcileReport]:
    return post("/reconcile", ReconcileReport, {"provider": provider_id, "dry_run": dry_run})


def report(run_id: str) -> Call[ReconcileReport]:
    return get(f"/reconcile/runs/{quoted(run_id, safe='')}", ReconcileReport)


def findings(
    *, closed: bool, kind: str | None, provider: str | None, limit: int, cursor: str | None
) -> Call[FindingPage]:
    params: Params = (("all", "true" if closed else "false"), ("limit", str(limit)))
    given = (("kind", kind), ("provider", provider), ("cursor", cursor))
    params += tuple((name, value) for name, value in given if value is not None)
    return get("/reconcile/findings", FindingPage, params)
