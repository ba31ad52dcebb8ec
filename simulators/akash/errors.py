"""How the Console refuses."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute


class Refusal(Exception):
    """An answer that is none."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        *,
        code: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "error": error,
            "message": message,
            "code": code or error.lower(),
            "type": "server_error" if status >= 500 else "client_error",
        }
        if data is not None:
            self.body["data"] = data


class RefusalRoute(APIRoute):
    """Answers with the Console's envelope."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def refuse(request: Request) -> Response:
            try:
                return await handle(request)
            except Refusal as refusal:
                return JSONResponse(refusal.body, refusal.status)
            except (RequestValidationError, KeyError, ValueError, TypeError) as error:
                body = Refusal(400, "BadRequestError", type(error).__name__).body
                return JSONResponse({**body, "code": "validation_error"}, 400)

        return refuse
