"""What a client has seen last of each thing: the `ETag`s of its answers. No I/O."""

from collections import OrderedDict
from typing import Any, Final

import httpx

from cortex.client._routes.call import Call
from cortex.client.errors import InvalidValue

_MOST: Final = 1000


class Tags:
    """The tags of the things that were read last, a bounded number of them."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, Any], str] = OrderedDict()

    def headers(self, call: Call[Any]) -> dict[str, str]:
        """Those of a call.

        Raises:
            InvalidValue: it is for what was seen last, and that was never read.
        """
        if not call.as_seen:
            return call.headers
        tag = self._seen.get(_place(call))
        if tag is None:
            raise InvalidValue(
                f"`if_match=LAST_SEEN`: this client has not read `{call.path}` yet; read it first"
            )
        return {**call.headers, "If-Match": tag}

    def note(self, call: Call[Any], response: httpx.Response) -> None:
        """What a call was answered; that of a change is as good as one that was read."""
        tag = response.headers.get("etag")
        if call.method == "DELETE" and response.is_success:
            self._seen.pop(_place(call), None)
        elif tag is not None and not tag.startswith("W/"):
            self._seen[_place(call)] = tag
            self._seen.move_to_end(_place(call))
            if len(self._seen) > _MOST:
                self._seen.popitem(last=False)


def _place(call: Call[Any]) -> tuple[str, Any]:
    return call.path, call.params
