"""How the daemon answers: bare JSON, errors with one message, one key for everything."""

import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from decimal import Decimal
from typing import Any

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute

APP_KEY = "golem-simulator"
_OPEN = ("/version/get", "/registry/", "/stats/", "/rate")


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str | None, *, plain: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.plain = plain


class DaemonRoute(APIRoute):
    """Checks the key, and turns refusals into the daemon's answers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            if not request.url.path.startswith(_OPEN):
                given = request.headers.get("authorization", "").removeprefix("Bearer ")
                given = given or request.query_params.get("authToken", "")
                if not given:
                    return PlainTextResponse("Missing application key", 401)
                if given != APP_KEY:
                    return PlainTextResponse("Invalid application key", 401)
            try:
                return await inner(request)
            except Refused as refused:
                if refused.plain:
                    return PlainTextResponse(refused.message or "", refused.status)
                return reply({"message": refused.message}, refused.status)

        return handler


def reply(body: Any, status: int = 200) -> Response:
    """JSON, with numbers as they are: the daemon's amounts are text, its counters are numbers."""
    text = json.dumps(body, default=_plain)
    return Response(text, status, media_type="application/json")


def problem(kind: str, status: int, **more: Any) -> Response:
    """What allocations answer instead of a message."""
    body = {"type": f"/payment-api/v1/allocations/{kind}", **more}
    return Response(json.dumps(body, default=_plain), status, media_type="application/problem+json")


def empty(status: int = 204) -> Response:
    return Response(status_code=status)


async def json_body(request: Request, *, plain: bool = False) -> Any:
    """The JSON of a request, which is demanded even where it says nothing."""
    data = await request.body()
    try:
        return json.loads(data, parse_float=Decimal)
    except ValueError as error:
        raise Refused(400, f"Json deserialize error: {error}", plain=plain) from None


def seconds(request: Request, default: float = 5) -> float:
    try:
        return min(float(request.query_params.get("timeout", default)), 60.0)
    except ValueError:
        raise Refused(400, "Query deserialize error: invalid float literal") from None


def limit(request: Request, name: str, default: int = 10) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdigit():
        raise Refused(400, "Query deserialize error: invalid digit found in string")
    return int(text)


def moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise Refused(400, "Query deserialize error: input contains invalid characters") from None


def hexadecimal(text: str, what: str = "Agreement") -> str:
    """The id, if it has the form of one."""
    bad = not text or any(char not in "0123456789abcdef" for char in text)
    if bad:
        raise Refused(400, f"Invalid {what} id. Id [{text}] contains non hexadecimal characters.")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)
