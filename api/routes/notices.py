"""What one is told of, and by which way; and how to end it without logging in."""

from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.openapi import problems
from api.pages import form, page, paragraph
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.rights import Action
from cortex.notices.people import UNSUBSCRIBE
from cortex.schemas.notices import NoticesPut, NoticesView

router = api_router("notices")

Token = Annotated[str, Query(max_length=100, description="As it stands in the mail.")]
_GONE = "This link is not known, or not any more. `cortex notices off` ends notices as well."


@router.get(
    "/users/me/notices",
    dependencies=[needs(Action.NOTICES_CHANGE)],
    response_model=NoticesView,
    responses=problems(),
)
async def get_notices(services: Using, by: Caller) -> Response:
    """What one is told, by which ways, and what became of the last message of each."""
    return answer(await services.notices.get(by))


@router.put(
    "/users/me/notices",
    dependencies=[needs(Action.NOTICES_CHANGE)],
    response_model=NoticesView,
    responses=problems(),
)
async def put_notices(
    body: Annotated[NoticesPut, Depends(Body(NoticesPut, "the choice of notices"))],
    services: Using,
    by: Caller,
) -> Response:
    """Choose what one is told: of own jobs, of those in one's projects, by e-mail or chat."""
    return answer(await services.notices.put(body, by))


@router.get("/auth/unsubscribe", include_in_schema=False)
async def ask_to_unsubscribe(token: Token = "") -> Response:
    """A page with a button: whoever only looks at a link in a mail changes nothing by it."""
    words = "No notices will be sent to you any more. `cortex notices on` brings them back."
    button = form(f"{UNSUBSCRIBE}?token={token}", {}, (), [("yes", "End all notices")])
    return page("Notices of Cortex", paragraph(words), button)


@router.post("/auth/unsubscribe", include_in_schema=False)
async def unsubscribe(services: Using, by: Caller, token: Token = "") -> Response:
    """End all notices of whoever has the token: the button of the page, or of a mail program."""
    if not await services.notices.unsubscribe(token, by):
        return page("Notices of Cortex", paragraph(_GONE, warning=True), status=404)
    return page("Notices of Cortex", paragraph("You are told nothing any more."))
