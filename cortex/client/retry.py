"""When a request is sent again, and after how long. No I/O: both clients ask it and then wait."""

import random
from dataclasses import dataclass

import httpx

from cortex.client.errors import ApiError, BadAnswer, ConnectionFailed, PreconditionFailed
from cortex.client.urls import asked_url
from cortex.schemas.server import Problem

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The server is busy or what it stands on is away: it asks to come back.
_LATER = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast to try again.

    Attributes:
        attempts: Tries in all of one request; for a stream: tries in a row that brought nothing.
        base: Seconds before the second try; doubled each time, with some chance in it.
        longest: The most seconds between two tries, whatever the server's `Retry-After` says.
    """

    attempts: int = 6
    base: float = 0.2
    longest: float = 10.0

    def delay(self, failed: int, retry_after: float | None = None) -> float:
        """Seconds to wait after this many failures in a row."""
        backoff = self.base * 2.0 ** min(failed - 1, 30) * random.uniform(0.75, 1.25)
        return min(self.longest, max(backoff, retry_after or 0.0))


NO_RETRY = RetryPolicy(attempts=1)


class Tries:
    """The failures of one request (or of one stream, in a row) so far."""

    def __init__(self, policy: RetryPolicy, url: str, *, repeatable: bool = True) -> None:
        """Start with no failure.

        Args:
            policy: Its limits.
            url: For the error.
            repeatable: Whether the request may reach the server twice.
        """
        self._policy = policy
        self._url = url
        self._repeatable = repeatable
        self._failed = 0

    def reset(self) -> None:
        """It works again."""
        self._failed = 0

    def lost(self, error: httpx.TransportError) -> float:
        """Seconds to wait after a failed connection.

        Raises:
            ConnectionFailed: it was the last try, or the request must not be sent twice.
        """
        self._failed += 1
        sent = not isinstance(error, _NOT_SENT)
        if self._failed >= self._policy.attempts or (sent and not self._repeatable):
            unsure = sent and not self._repeatable
            raise ConnectionFailed(self._url, _words(error), unsure=unsure) from error
        return self._policy.delay(self._failed)

    def refused(self, response: httpx.Response) -> float:
        """Seconds to wait after an answer that is an error.

        Raises:
            ApiError: trying again would not help, or it was the last try.
            PreconditionFailed: it is not at the version of `If-Match`.
        """
        self._failed += 1
        later = response.status_code == 429 or (self._repeatable and response.status_code in _LATER)
        if not later or self._failed >= self._policy.attempts:
            kind = PreconditionFailed if response.status_code == 412 else ApiError
            raise kind(problem_of(response))
        return self._policy.delay(self._failed, _retry_after(response))


def problem_of(response: httpx.Response) -> Problem:
    """The problem in an error's body; one made from the status if something else answered."""
    try:
        return Problem.model_validate_json(response.content)
    except ValueError:
        status = response.status_code
        title = response.reason_phrase or "Error"
        if status < 400:
            raise BadAnswer(f"{asked_url(response)} answered {status} {title}") from None
        return Problem(
            title=title,
            status=status,
            code=f"http_{status}",
            detail=f"{response.request.method} {asked_url(response)} answered {status} {title}",
        )


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectTimeout | httpx.ReadTimeout | httpx.WriteTimeout):
        return "it took too long"
    text = str(error).strip()
    if "refused" in text or "All connection attempts failed" in text:
        return "nothing listens there"
    return text or type(error).__name__
