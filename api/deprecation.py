"""Routes and fields that go away: said once, where they are declared.

A route says it below its decorator (`@deprecated(...)`); its answers then carry `Deprecation` (RFC
9745), `Sunset` (RFC 8594) and `Link`, and the document marks it. A field of a body says it by
`json_schema_extra=going(...)`. docs/api.md has the policy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from typing import Any, Final, TypeVar

NOTICE: Final = timedelta(days=180)
"""Between the day that something is deprecated and the day that it is gone, at least."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_MARK: Final = "__deprecation__"


@dataclass(frozen=True)
class Deprecation:
    """From when on something should not be used, when it goes, and what takes its place.

    Attributes:
        since: The day; may lie ahead.
        sunset: The day from which on it may be gone, in UTC; None: not decided.
        instead: What to use: a path for a route, the name of a field for a field.
    """

    since: date
    instead: str
    sunset: date | None = None

    def __post_init__(self) -> None:
        if self.sunset is not None and self.sunset - self.since < NOTICE:
            raise ValueError(f"{NOTICE.days} days at least must lie between `since` and `sunset`")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the answers of a route say."""
        told = [("deprecation", f"@{int(_midnight(self.since).timestamp())}")]
        if self.sunset is not None:
            told.append(("sunset", format_datetime(_midnight(self.sunset), usegmt=True)))
        link = f'</docs>; rel="deprecation"; type="text/html", <{self.instead}>; '
        told.append(("link", link + 'rel="successor-version"'))
        return [(name.encode(), value.encode()) for name, value in told]

    def words(self) -> str:
        """The same for people."""
        gone = f", gone from {self.sunset.isoformat()} on" if self.sunset else ""
        return f"Deprecated since {self.since.isoformat()}{gone}: use `{self.instead}`."


def deprecated(
    *, since: date, instead: str, sunset: date | None = None
) -> Callable[[Endpoint], Endpoint]:
    """Marks the function of a route, below the router's decorator.

    Raises:
        ValueError: the notice is too short.
    """
    deprecation = Deprecation(since, instead, sunset)

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _MARK, deprecation)
        return endpoint

    return mark


def deprecation_of(endpoint: Callable[..., Any]) -> Deprecation | None:
    """How a function of a route was marked."""
    found: Deprecation | None = getattr(endpoint, _MARK, None)
    return found


def going(*, since: date, instead: str, sunset: date | None = None) -> dict[str, Any]:
    """For `json_schema_extra` of a field: it is marked in the document, and still read.

    Raises:
        ValueError: the notice is too short.
    """
    words = Deprecation(since, instead, sunset).words()
    return {"deprecated": True, "description": words}


def response_headers(deprecation: Deprecation) -> dict[str, Any]:
    """The headers as the document has them."""
    text = {"type": "string"}
    names = [name.decode().title() for name, _ in deprecation.headers()]
    return {name: {"description": _SAID[name], "schema": text} for name in names}


_SAID: Final = {
    "Deprecation": "Since when this should not be used any more (RFC 9745).",
    "Sunset": "From when on it may be gone (RFC 8594).",
    "Link": "What takes its place.",
}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
