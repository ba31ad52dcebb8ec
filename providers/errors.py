"""What a provider may raise. The workflow decides by the class, so pick it with care."""

from datetime import timedelta


class ProviderError(Exception):
    """Base of all; never raised itself. The text is shown to users: no secrets, no traces."""


class InvalidSpec(ProviderError):
    """The network will never accept this job. Not retried, not offered elsewhere."""


class AuthenticationFailed(ProviderError):
    """The network refuses our credentials. Not retried."""


class NoCapacity(ProviderError):
    """Nothing free now, no bid. The next offer is tried; later, this one again."""


class Unsuitable(ProviderError):
    """This provider will never run this job (such as an image it cannot get); others may.

    The next offer is tried, and this provider is not asked again for the job.
    """


class ImageUnavailable(Unsuitable):
    """The image is not to be had at this network; it may be elsewhere.

    The next offer is tried, and this provider is not asked again for the job.
    """


class PullFailed(NoCapacity):
    """The image cannot be pulled now, as when its registry is away. The next offer is tried."""


class NoSuchImage(ProviderError):
    """The registry has no such image, or refuses it. Not retried, not offered elsewhere."""


class InsufficientFunds(ProviderError):
    """The account cannot pay for it. The next offer is tried."""


class RateLimited(ProviderError):
    """Too many calls. Tried again after `retry_after`."""

    def __init__(self, message: str, retry_after: timedelta = timedelta(seconds=5)) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ProviderError):
    """The network cannot be reached or is out of order; the call had no effect. Retried."""


class OutcomeUnknown(ProviderError):
    """The call may have had its effect: a timeout, a dropped connection. `find(key)` first."""


class LeaseLost(ProviderError):
    """The network definitely no longer has the lease."""
