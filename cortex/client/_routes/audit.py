"""The routes about the audit log: how each request is built and its answer read. No I/O."""

from cortex.client._routes.call import V1, Call, Since, get, query
from cortex.client.streams import Params
from cortex.domain.audit import Outcome
from cortex.schemas.audit import AuditPage, AuditVerification


def matching(
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    request_id: str | None,
    outcome: Outcome | None,
    since: Since | None,
    until: Since | None,
) -> Params:
    """The parameters that choose entries."""
    return query(
        actor=actor,
        action=action,
        subject=subject,
        request=request_id,
        outcome=None if outcome is None else outcome.value,
        since=since,
        until=until,
    )


def page(wanted: Params, *, limit: int, cursor: str | None) -> Call[AuditPage]:
    return get("/audit", AuditPage, (*wanted, *query(limit=limit, cursor=cursor)))


def export(wanted: Params, form: str) -> Call[str]:
    return Call("GET", f"{V1}/audit", bytes.decode, (*wanted, ("format", form)))


def verify(known: str | None) -> Call[AuditVerification]:
    return get("/audit/verification", AuditVerification, query(known=known))
