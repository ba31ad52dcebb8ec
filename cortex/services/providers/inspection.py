"""Looking at a provider now, through a short workflow on a worker that has it open."""

from datetime import datetime
from typing import Final

from temporalio.client import Client, WorkflowFailureError

from cortex.domain.errors import ServiceUnavailable
from cortex.domain.ids import new_id
from cortex.domain.providers.inspection import Inspection
from cortex.services.providers.queries import ProviderRegistry
from cortex.temporal.ask import ask_workers
from cortex.temporal.contracts import INSPECT_WORKFLOW, InspectInput

_WAIT: Final = 60.0


class Inspections:
    """Asks providers what they hold."""

    def __init__(self, client: Client, registry: ProviderRegistry) -> None:
        self._client = client
        self._registry = registry

    async def inspect(
        self, provider_id: str, *, leases: bool, after: datetime | None, keys: tuple[str, ...]
    ) -> Inspection:
        """What the network holds now, and which calls the adapter made.

        Args:
            provider_id: The provider.
            leases: Whether the network is asked at all.
            after: Only calls after this.
            keys: Only calls about these leases, or about none in particular.

        Raises:
            NotFound: there is none with this id.
            ServiceUnavailable: nothing can be said now; says why.
            TemporalUnavailable: Temporal is away.
        """
        await self._registry.view(provider_id)
        inquiry = InspectInput(provider_id=provider_id, leases=leases, after=after, keys=keys)
        try:
            return await ask_workers(
                self._client,
                INSPECT_WORKFLOW,
                inquiry,
                workflow_id=f"inspect-{new_id('fnd').removeprefix('fnd_')}",
                result_type=Inspection,
                patience=_WAIT,
            )
        except WorkflowFailureError as error:
            cause = error.cause
            why = getattr(cause, "message", None) or str(cause or error)
            raise ServiceUnavailable(why) from error
