"""What can go wrong in the client, in words that say what to do."""

from cortex.client.urls import shown_url
from cortex.domain.errors import FieldError
from cortex.schemas.groups import GroupView
from cortex.schemas.jobs import JobView
from cortex.schemas.server import Problem


class ClientError(Exception):
    """Base of everything that the client raises on purpose."""


class NotConfigured(ClientError):
    """It is not known where the server is."""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(
            detail
            or "no server is running: start one with `cortex up`, "
            "or name one with CORTEX_URL and CORTEX_API_KEY"
        )


class InvalidValue(ClientError, ValueError):
    """A value cannot be sent to the server; the text says which and why. Nothing was sent."""


class ConnectionFailed(ClientError):
    """The server could not be reached, or did not answer in time, however often it was asked.

    Attributes:
        url: The server's base URL.
    """

    def __init__(self, url: str, why: str, *, unsure: bool = False) -> None:
        url = shown_url(url)
        text = (
            f"no answer from {url}: {why}. Is the server running? See `cortex status`, "
            "start it with `cortex up`, or name another one with --url or CORTEX_URL"
        )
        if unsure:
            text += ". The request may have been carried out: look before you repeat it"
        super().__init__(text)
        self.url = url
        self.why = why


class ApiError(ClientError):
    """The server refused a request; all of it is in `problem` (RFC 9457).

    Attributes:
        problem: As the server sent it.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def code(self) -> str:
        """A stable name for programs, such as `not_found`."""
        return self.problem.code

    @property
    def detail(self) -> str:
        """A sentence for people."""
        return self.problem.detail or self.problem.title

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """One entry per wrong field."""
        return self.problem.errors


class PreconditionFailed(ApiError):
    """What was to be changed is not at the version of `if_match` any more; nothing was changed.

    Read it again, look at what others did, and repeat the change if it still holds.
    """


class BadAnswer(ClientError):
    """What answered is no Cortex API of a version that this client knows."""


class WaitTimeout(ClientError):
    """The job had not ended when the time was up. It goes on.

    Attributes:
        job: As it was seen last.
    """

    def __init__(self, job: JobView, timeout: float) -> None:
        super().__init__(f"job `{job.id}` is still `{job.state}` after {timeout:g} s")
        self.job = job


class GroupWaitTimeout(ClientError):
    """The group had not ended when the time was up. It goes on.

    Attributes:
        group: As it was seen last.
    """

    def __init__(self, group: GroupView, timeout: float) -> None:
        super().__init__(f"group `{group.id}` is still `{group.state}` after {timeout:g} s")
        self.group = group


class DamagedDownload(ClientError):
    """A downloaded file is not what the server has (size or SHA-256 differ)."""
