"""An HTTP client that notes its calls: apart from the notes, which every worker keeps."""

import time
from typing import Any

import httpx

from cortex.faultpoints import path_form
from providers.calls import note

# A look for what is not there is answered so: adapters ask, and take it as an answer.
_NOT_THERE = 404


class NotedClient(httpx.AsyncClient):
    """An HTTP client whose requests are noted with status and time.

    Args:
        who: The service, as it is named in the notes.
        options: Those of `httpx.AsyncClient`.
    """

    def __init__(self, who: str, **options: Any) -> None:
        super().__init__(**options)
        self._who = who

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As `httpx.AsyncClient.send`."""
        began, outcome, odd = time.monotonic(), "cancelled", False
        try:
            response = await super().send(request, **options)
            outcome = str(response.status_code)
            odd = not response.is_success and response.status_code != _NOT_THERE
            return response
        except httpx.HTTPError as error:
            outcome, odd = type(error).__name__, True
            raise
        finally:
            what = f"{request.method} {path_form(request.url.path)}"
            note(self._who, what, outcome, time.monotonic() - began, odd=odd)
