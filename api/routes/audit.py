"""The audit log: who changed what, and who tried without being allowed."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from api.access import needs
from api.openapi import problems
from api.params import WHOLE, Form, Moment, NumberCursor
from api.respond import CSV, answer, attached
from api.routing import api_router
from api.services import Using
from cortex.db.audit import AuditFilter
from cortex.domain.audit import HEAD, Head, Outcome
from cortex.domain.rights import Action
from cortex.schemas.audit import AuditPage, AuditVerification

router = api_router("audit")

_JSON_LINES = "application/jsonl"
_AS_TEXT = {"schema": {"type": "string"}}


@router.get(
    "/audit",
    dependencies=[needs(Action.AUDIT_READ)],
    response_model=AuditPage,
    responses={
        200: {
            "description": "As JSON; with `format` all entries as a sheet, or as JSON lines.",
            "content": {"text/csv": _AS_TEXT, _JSON_LINES: _AS_TEXT},
        },
        **problems(),
    },
)
async def list_entries(
    services: Using,
    actor: Annotated[str | None, Query(description="Only by this one.")] = None,
    action: Annotated[
        str | None, Query(description="Only this, such as `job.cancel`; `job.*`: all of jobs.")
    ] = None,
    subject: Annotated[str | None, Query(description="Only about this id.")] = None,
    request: Annotated[str | None, Query(description="Only of this correlation id.")] = None,
    outcome: Annotated[Outcome | None, Query(description="Done, or denied.")] = None,
    since: Annotated[Moment | None, Query(description="Entries from this time on.")] = None,
    until: Annotated[Moment | None, Query(description="Entries before this time.")] = None,
    limit: Annotated[int, Field(ge=1, le=1000), WHOLE] = 100,
    cursor: NumberCursor = None,
    form: Annotated[
        Literal["json", "csv", "jsonl"],
        Query(alias="format", description="`csv`, `jsonl`: all entries, the oldest first."),
    ] = "json",
) -> Response:
    """Changes and denied attempts, the newest first: who, what, when, from where."""
    wanted = AuditFilter(
        actor=actor,
        action=action,
        subject=subject,
        request_id=request,
        outcome=outcome,
        since=since,
        until=until,
    )
    if form == "csv":
        pieces = services.audit.csv(wanted)
        return StreamingResponse(pieces, media_type=CSV, headers=attached("audit.csv"))
    if form == "jsonl":
        pieces = services.audit.json_lines(wanted)
        return StreamingResponse(pieces, media_type=_JSON_LINES, headers=attached("audit.jsonl"))
    return answer(await services.audit.page(wanted, cursor=cursor, limit=limit))


@router.get(
    "/audit/verification",
    dependencies=[needs(Action.AUDIT_READ)],
    response_model=AuditVerification,
    responses=problems(),
)
async def verify(
    services: Using,
    known: Annotated[
        Annotated[str, Form(HEAD, "must be the `head` of an earlier verification")] | None,
        Query(description="`head` of an earlier verification, which must still be in the chain."),
    ] = None,
) -> Response:
    """Reckon the seal of every entry anew: whether one was changed, removed or slipped in."""
    head = None if known is None else Head.parse(known)
    return answer(await services.audit.verify(head))
