"""Offers of all providers for a spec: asked through a short workflow on the workers."""

import asyncio
from datetime import timedelta
from typing import Final

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from cortex.domain.errors import ServiceUnavailable, TemporalUnavailable
from cortex.domain.ids import new_id
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec, Strategy
from cortex.schemas import ProviderObjection, Quote, RankedOffer
from cortex.services.admission import check_duration, check_providers
from cortex.services.registry import ProviderRegistry
from cortex.settings import JobSettings
from cortex.temporal.contracts import QUOTE_WORKFLOW, TASK_QUEUE, QuoteInput, QuoteResult

_WAIT: Final = 11.0
"""Seconds: with the network in between, the caller has its answer within 12."""

_EXECUTION: Final = timedelta(seconds=20)
_CALL: Final = timedelta(seconds=3)


class Quotes:
    """Asks for offers."""

    def __init__(self, client: Client, registry: ProviderRegistry, settings: JobSettings) -> None:
        self._client = client
        self._registry = registry
        self._settings = settings

    async def quote(self, spec: JobSpec) -> Quote:
        """Offers, ranked by the spec's strategy.

        Raises:
            InvalidRequest: too long, or it names a provider that does not exist.
            ServiceUnavailable: no worker answered.
            TemporalUnavailable: Temporal is away.
        """
        check_duration(spec, self._settings.max_duration)
        check_providers(spec, await self._registry.all())
        return _ranked(spec, await self._ask(spec))

    async def _ask(self, spec: JobSpec) -> QuoteResult:
        started = False
        timeout = min(self._settings.quote_timeout, timedelta(seconds=_WAIT - 1))
        try:
            async with asyncio.timeout(_WAIT):
                handle = await self._client.start_workflow(
                    QUOTE_WORKFLOW,
                    QuoteInput(spec=spec, timeout=timeout),
                    id=f"quote-{new_id('job').removeprefix('job_')}",
                    task_queue=TASK_QUEUE,
                    result_type=QuoteResult,
                    execution_timeout=_EXECUTION,
                    rpc_timeout=_CALL,
                )
                started = True
                result: QuoteResult = await handle.result()
                return result
        except TimeoutError as error:
            if started:
                raise ServiceUnavailable(
                    f"no worker answered within {_WAIT:g} s; is one running on the task queue "
                    f"`{TASK_QUEUE}`?"
                ) from error
            raise TemporalUnavailable("Temporal does not answer") from error
        except WorkflowFailureError as error:
            raise ServiceUnavailable("the workers could not collect offers; try again") from error
        except RPCError as error:
            raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
        except RuntimeError as error:  # a lazy client's first connect
            raise TemporalUnavailable(f"Temporal does not answer: {error}") from error


def _ranked(spec: JobSpec, result: QuoteResult) -> Quote:
    return Quote(
        strategy=spec.placement.strategy.value,
        offers=tuple(
            RankedOffer(
                rank=rank,
                # `data` is the provider's own and means nothing to anyone else.
                offer=offer.model_copy(update={"data": {}}),
                most=offer.estimate(spec.duration),
                why=_why(offer, spec.placement.strategy),
            )
            for rank, offer in enumerate(result.offers, start=1)
        ),
        objections=tuple(
            ProviderObjection(provider_id=answer.provider_id, reasons=answer.reasons)
            for answer in result.rejected
        ),
    )


def _why(offer: Offer, strategy: Strategy) -> str:
    if strategy is Strategy.PERFORMANCE:
        return f"relative speed {offer.performance.normalize():f}, {offer.price_per_hour} per hour"
    if strategy is Strategy.AVAILABILITY:
        return f"availability {offer.availability:.0%}, {offer.price_per_hour} per hour"
    return f"{offer.price_per_hour} per hour"
