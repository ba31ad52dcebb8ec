"""Many jobs at once."""

from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.params import IdempotencyKey
from api.respond import answer
from api.routes.jobs import FILTER, Which
from api.routing import api_router
from api.services import Using
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.domain.rights import Action
from cortex.schemas.bulk import BulkCancelRequest, BulkCancelView

router = api_router("jobs")
_HOW: Final = "give a filter as of `GET /jobs`, or `all: true` in the body for every job"


@router.post(
    "/jobs/cancel",
    dependencies=[needs(Action.JOBS_CANCEL)],
    response_model=BulkCancelView,
    responses=problems(404, 409),
)
async def cancel_jobs(
    request: Request,
    services: Using,
    by: Caller,
    where: Which,
    body: Annotated[
        BulkCancelRequest, Depends(Body(BulkCancelRequest, "the cancel request", optional=True))
    ],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask for the end of all jobs that a filter finds: that of `GET /jobs`, as a query.

    Of those that the caller may cancel; others are neither cancelled nor counted. At most 500 in
    one request, the oldest first: `remaining` says how many are left for the next one. Harmless to
    repeat; with the same `Idempotency-Key` it is about the jobs that were chosen the first time.
    """
    given = sorted(request.query_params.multi_items())
    _check_filter(given, everything=body.all)
    if body.dry_run:
        return answer(await services.bulk_cancels.preview(where, by))
    asked = [[list(pair) for pair in given], body.model_dump(mode="json")]
    view, seen = await services.bulk_cancels.cancel(
        where, by, reason=body.reason, asked=asked, key=idempotency_key
    )
    return answer(view, headers={"idempotency-replayed": "true"} if seen else {})


def _check_filter(given: list[tuple[str, str]], *, everything: bool) -> None:
    """Nobody means all jobs by a filter that is missing, or by one with a slip in it."""
    names = {name for name, _ in given}
    unknown = sorted(names - FILTER)
    if unknown:
        message = f"is no filter; there are {', '.join(sorted(FILTER))}"
        raise InvalidRequest(
            f"the request is not valid: `{unknown[0][:60]}` {message}",
            errors=[FieldError(field=name[:60], message=message) for name in unknown[:10]],
        )
    if not names and not everything:
        raise InvalidRequest(
            f"the filter is empty: {_HOW}", errors=[FieldError(field="all", message=_HOW)]
        )
