"""`/graphql`: one operation per request by POST; a page by GET."""

from typing import Final

import orjson
from graphql import OperationType
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from api.access import principal_of
from api.bodies import require_plain
from api.graphql.context import Context
from api.graphql.documents import Documents
from api.graphql.operations import Asking, Operation, read_request, refused
from api.graphql.page import graphql_page
from api.graphql.schema import CORE
from api.problems import MalformedBody, UnsupportedMediaType
from api.services import Services
from cortex.domain.errors import CortexError, InvalidRequest
from cortex.services.views import render

ANSWER: Final = "application/graphql-response+json"
_JSON: Final = "application/json"
DOCUMENTS: Final = Documents(CORE)


async def serve_graphql(request: Request) -> Response:
    """The page for a browser that looks, an answer to an operation that is sent."""
    return await (answer_graphql(request) if request.method == "POST" else graphql_page(request))


async def answer_graphql(request: Request) -> Response:
    """Carry out the query or mutation of a request.

    What cannot be carried out at all is a 400 (415 for another content type); errors of fields
    stand in the answer, beside what could be read.
    """
    services: Services = request.app.state.services
    context = Context(by=principal_of(request), services=services)
    try:
        operation = Operation(await _read(request), DOCUMENTS)
        if operation.kind is OperationType.SUBSCRIPTION:
            raise InvalidRequest(
                "a subscription needs a WebSocket: connect to this path with the subprotocol "
                "`graphql-transport-ws`"
            )
    except UnsupportedMediaType:
        raise
    except CortexError as error:
        status = error.status_code if error.status_code < 400 else 400
        return _answer(request, refused(error), status)
    return _answer(request, await operation.run(context), 200)


async def _read(request: Request) -> Asking:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:  # what a form of another page can send is not taken
        raise UnsupportedMediaType(f"`{kind[:60]}` is not understood; send {_JSON}")
    require_plain(request.headers)
    try:
        value = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"the body is no valid JSON: {error}") from None
    return read_request(value)


def _answer(request: Request, body: object, status: int) -> Response:
    accepted = Headers(scope=request.scope).get("accept", "")
    kind = ANSWER if ANSWER in accepted else _JSON
    return Response(render(body), status_code=status, media_type=kind)
