"""Offers of all providers for a spec: asked through a short workflow on the workers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from temporalio.client import Client, WorkflowFailureError

from cortex.db.providers.repository import StoredProvider
from cortex.domain.errors import ServiceUnavailable
from cortex.domain.ids import new_id
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec, Strategy
from cortex.schemas.jobs import ProviderObjection, Quote, RankedOffer
from cortex.services.jobs.admission import (
    check_duration,
    check_providers,
    check_strategy,
    check_words,
    why_not_asked,
)
from cortex.services.plugins import PluginDirectory
from cortex.services.providers.queries import ProviderRegistry
from cortex.settings import PlacementSettings, Settings
from cortex.temporal.ask import ask_workers
from cortex.temporal.contracts import (
    QUOTE_WORKFLOW,
    OfferStanding,
    QuoteInput,
    QuoteResult,
)

_WAIT: Final = 11.0
"""Seconds: with the network in between, the caller has its answer within 12."""

_NOBODY_ASKS: Final = ("no worker has it open now; see `cortex providers`",)


class Quotes:
    """Asks for offers."""

    def __init__(
        self,
        client: Client,
        registry: ProviderRegistry,
        plugins: PluginDirectory,
        settings: Settings,
    ) -> None:
        self._client = client
        self._registry = registry
        self._settings = settings.jobs
        self._placement = settings.placement
        self._plugins = plugins

    async def quote(self, spec: JobSpec) -> Quote:
        """Offers, ranked by the spec's strategy.

        Raises:
            InvalidRequest: too long, or it names a provider or strategy that does not exist.
            ServiceUnavailable: no worker answered.
            TemporalUnavailable: Temporal is away.
        """
        check_words(spec)
        check_duration(spec, self._settings.max_duration)
        check_strategy(spec, await self._plugins.strategies())
        providers = await self._registry.all()
        check_providers(spec, providers)
        return _quote(spec, await self._ask(spec), providers, self._placement)

    async def _ask(self, spec: JobSpec) -> QuoteResult:
        timeout = min(self._settings.quote_timeout, timedelta(seconds=_WAIT - 1))
        try:
            return await ask_workers(
                self._client,
                QUOTE_WORKFLOW,
                QuoteInput(spec=spec, timeout=timeout),
                workflow_id=f"quote-{new_id('job').removeprefix('job_')}",
                result_type=QuoteResult,
                patience=_WAIT,
            )
        except WorkflowFailureError as error:
            raise ServiceUnavailable("the workers could not collect offers; try again") from error


def _quote(
    spec: JobSpec,
    result: QuoteResult,
    providers: Sequence[StoredProvider],
    settings: PlacementSettings,
) -> Quote:
    own = {
        Strategy.COST.value: settings.weights.cost,
        Strategy.PERFORMANCE.value: settings.weights.performance,
        Strategy.AVAILABILITY.value: settings.weights.availability,
    }
    strategy = spec.placement.strategy
    weights = (spec.placement.weights or own[strategy]) if strategy in own else None
    against = _against(spec, providers)
    standings: Sequence[OfferStanding | None] = result.standings or [None] * len(result.offers)
    offered = [
        (offer, standing)
        for offer, standing in zip(result.offers, standings, strict=True)
        if offer.provider_id not in against
    ]
    return Quote(
        strategy=strategy,
        weights=weights,
        own_weights=weights is not None and spec.placement.weights is not None,
        note=result.note,
        offers=tuple(
            _ranked(rank, offer, standing, spec)
            for rank, (offer, standing) in enumerate(offered, start=1)
        ),
        objections=tuple(_objections(spec, result, providers, against)),
    )


def _against(spec: JobSpec, providers: Sequence[StoredProvider]) -> dict[str, list[str]]:
    """What stands against a job for its secrets: the workers, who ask the same function, get them
    masked and cannot know how large they are.
    """
    if not spec.secret_env:
        return {}
    masked = spec.with_secrets(dict.fromkeys(spec.secret_env, ""))
    objections: dict[str, list[str]] = {}
    for provider in providers:
        can = provider.capabilities
        if can is not None and not can.objections(masked) and (whys := can.objections(spec)):
            objections[provider.id] = whys
    return objections


def _ranked(rank: int, offer: Offer, standing: OfferStanding | None, spec: JobSpec) -> RankedOffer:
    told = standing.model_dump() if standing else {}
    return RankedOffer(
        rank=rank,
        # `data` is the provider's own and means nothing to anyone else.
        offer=offer.model_copy(update={"data": {}}),
        most=offer.estimate(spec.duration),
        usd_per_hour=offer.usd_per_hour(),
        **told,
    )


def _objections(
    spec: JobSpec,
    result: QuoteResult,
    providers: Sequence[StoredProvider],
    against: Mapping[str, Sequence[str]],
) -> Iterator[ProviderObjection]:
    """One for every provider without an offer, also for those that no worker asked."""
    offered = {offer.provider_id for offer in result.offers} - against.keys()
    refused = {answer.provider_id: answer.reasons for answer in result.rejected}
    for provider in providers:
        if provider.id in offered:
            continue
        reasons = why_not_asked(spec, provider) or against.get(provider.id)
        reasons = reasons or refused.get(provider.id) or _NOBODY_ASKS
        yield ProviderObjection(provider_id=provider.id, reasons=tuple(reasons))
    known = {provider.id for provider in providers}
    for provider_id, reasons in refused.items():
        if provider_id not in known:
            yield ProviderObjection(provider_id=provider_id, reasons=reasons)
