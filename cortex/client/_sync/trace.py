"""The part of the blocking client that is the transaction explorer."""
# Made from _async/trace.py by `make format`; change that one.

from cortex.client._routes import trace as routes
from cortex.client.transport import Transport
from cortex.domain.money import Money
from cortex.domain.trace.model import Trace
from cortex.domain.trace.resolution import ResolveAction
from cortex.schemas.trace import ResolutionView, StuckPage


class TraceCalls:
    """What `Cortex` can do with traces and with what is stuck."""

    _transport: Transport

    def trace(self, subject_id: str) -> Trace:
        """Every step of a job's or group's protocol, with what was sent and what is known.

        Args:
            subject_id: Id of a job (`job_...`) or of a group (`grp_...`).
        """
        return self._transport.call(routes.trace(subject_id))

    def stuck(self, limit: int = 100) -> StuckPage:
        """Jobs and groups that stay where they are for longer than they should."""
        return self._transport.call(routes.stuck(limit))

    def resolve(
        self,
        job_id: str,
        action: ResolveAction | str,
        *,
        reason: str,
        amount: Money | str | None = None,
        force: bool = False,
    ) -> ResolutionView:
        """Decide by hand about a job that does not get on. Admins only; it is audited.

        Args:
            job_id: The job.
            action: `retry`, `force_release` or `settle`.
            reason: Why.
            amount: What `settle` books, such as `1.20 USD`.
            force: Also where nothing is stuck: the job is cancelled first.
        """
        return self._transport.call(
            routes.resolve(job_id, action, reason=reason, amount=amount, force=force)
        )
