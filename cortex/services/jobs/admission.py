"""Whether a job can be taken at all: decided before anything is stored, without a network call."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Final

from cortex.db.providers.repository import StoredProvider
from cortex.domain.conditions.kernel import word_errors
from cortex.domain.errors import (
    CortexError,
    FieldError,
    InvalidRequest,
    NoProviderCanRun,
    OverBudget,
    ServiceUnavailable,
    SubmissionsPaused,
)
from cortex.domain.money import Money
from cortex.domain.offers import PriceSheet
from cortex.domain.spec import JobSpec, Strategy
from cortex.domain.units import format_duration
from cortex.schemas.jobs import CostEstimate, ProviderObjection
from cortex.settings import JobSettings

BUILT_IN: Final = frozenset(strategy.value for strategy in Strategy)
"""The strategies that need no plugin."""


@dataclass(frozen=True)
class Assessment:
    """Who could run a job and for what price, and who could not and why."""

    estimates: tuple[CostEstimate, ...] = ()
    objections: tuple[ProviderObjection, ...] = ()


@dataclass
class _Sorted:
    able: list[StoredProvider] = field(default_factory=list)
    objections: dict[str, list[str]] = field(default_factory=dict)


def assess(
    spec: JobSpec,
    providers: Sequence[StoredProvider],
    *,
    max_duration: timedelta,
    strategies: Collection[str] = BUILT_IN,
) -> Assessment:
    """Check a spec against the registered providers and their prices.

    Raises:
        InvalidRequest: too long, a word that is too long for any program, or it names a provider
            or strategy that does not exist.
        NoProviderCanRun: with one entry per provider that says why.
        OverBudget: every provider that could run it costs more than it may.
        ServiceUnavailable: no provider is registered yet.
    """
    check_words(spec)
    check_duration(spec, max_duration)
    check_strategy(spec, strategies)
    check_providers(spec, providers)
    sides = _sort(spec, providers)
    if not sides.able:
        raise _nobody(sides)
    estimates = _affordable(spec, sides)
    return Assessment(
        estimates=tuple(sorted(estimates, key=lambda estimate: _usd(estimate, providers))),
        objections=tuple(
            ProviderObjection(provider_id=provider_id, reasons=tuple(reasons))
            for provider_id, reasons in sides.objections.items()
        ),
    )


def require_open(settings: JobSettings) -> None:
    """Go on only while new jobs are taken. What was taken before is still answered.

    Raises:
        SubmissionsPaused: they are not.
    """
    if not settings.accept:
        raise SubmissionsPaused("no new jobs are taken just now; those that were taken go on")


def check_words(spec: JobSpec) -> None:
    """Refuse a job with a word or variable that the kernel hands to no program."""
    errors = word_errors(spec)
    if errors:
        raise InvalidRequest(
            f"the job spec is not valid: `{errors[0].field}` {errors[0].message}", errors=errors
        )


def check_duration(spec: JobSpec, max_duration: timedelta) -> None:
    """Refuse a job that is longer than this server allows."""
    if spec.duration > max_duration:
        raise _invalid(
            "duration",
            f"is {format_duration(spec.duration)}, and this server runs jobs "
            f"for at most {format_duration(max_duration)}",
        )
    longest = spec.auto_extend.up_to if spec.auto_extend else spec.duration
    if longest > max_duration:
        raise _invalid(
            "auto_extend.up_to",
            f"is {format_duration(longest)}, and this server runs jobs "
            f"for at most {format_duration(max_duration)}, extensions included",
        )


def check_strategy(spec: JobSpec, strategies: Collection[str]) -> None:
    """Refuse a job that is to be placed by a strategy that no plugin here has."""
    wanted = spec.placement.strategy
    if wanted not in strategies:
        known = ", ".join(f"`{name}`" for name in sorted(strategies))
        raise _invalid("placement.strategy", f"`{wanted}` is no known strategy; known are {known}")


def check_providers(spec: JobSpec, providers: Sequence[StoredProvider]) -> None:
    """Refuse a job that names a provider that does not exist."""
    if not providers:
        raise ServiceUnavailable(
            "no worker has registered a provider yet; start a worker and try again"
        )
    known = [provider.id for provider in providers]
    unknown = [name for name in spec.placement.providers if name not in known]
    if unknown:
        names = ", ".join(f"`{name[:60]}`" for name in unknown[:5])
        verb = "is no known provider" if len(unknown) == 1 else "are no known providers"
        raise _invalid(
            "placement.providers", f"{names} {verb}; known are {', '.join(sorted(known))}"
        )


def at_index(error: CortexError, index: int) -> CortexError:
    """The same error, said of one job of a batch."""
    place = f"jobs[{index}]"
    per_provider = isinstance(error, NoProviderCanRun | OverBudget)
    errors = [
        FieldError(field=place, message=f"{problem.field}: {problem.message}")
        if per_provider
        else FieldError(field=f"{place}.{problem.field}", message=problem.message)
        for problem in error.errors
    ]
    return type(error)(f"{place}: {error.detail}", errors=errors)


def _sort(spec: JobSpec, providers: Sequence[StoredProvider]) -> _Sorted:
    sides = _Sorted()
    for provider in providers:
        reasons = _objections(spec, provider)
        if reasons:
            sides.objections[provider.id] = reasons
        else:
            sides.able.append(provider)
    return sides


def why_not_asked(spec: JobSpec, provider: StoredProvider) -> list[str]:
    """Why no worker asks this provider for an offer, as far as its record tells."""
    if not provider.configured:
        return ["it is no longer in the configuration of any worker (`cortex config`)"]
    if not provider.enabled:
        return [f"it is switched off ({_switch_on(provider)})"]
    if spec.placement.providers and provider.id not in spec.placement.providers:
        return ["the job does not allow it (`placement.providers`)"]
    return []


def _switch_on(provider: StoredProvider) -> str:
    if provider.source == "api":
        return f"`cortex provider enable {provider.id}` switches it on"
    return "in the settings of the workers: `enabled`"


def _objections(spec: JobSpec, provider: StoredProvider) -> list[str]:
    reasons = why_not_asked(spec, provider)
    if reasons:
        return reasons
    if provider.capabilities is None:
        return [f"it has not told what it can run yet{_because(provider.message)}"]
    return provider.capabilities.objections(spec)


def _because(message: str) -> str:
    return f" ({message})" if message else ""


def _nobody(sides: _Sorted) -> NoProviderCanRun:
    errors = [
        FieldError(field=provider_id, message="; ".join(reasons))
        for provider_id, reasons in sides.objections.items()
    ]
    words = ". ".join(f"`{problem.field}`: {problem.message}" for problem in errors[:10])
    return NoProviderCanRun(f"no provider can run this job. {words}", errors=errors)


def _affordable(spec: JobSpec, sides: _Sorted) -> list[CostEstimate]:
    """Estimates of the able providers within price and budget; those over it become objections.

    A provider that has told no prices yet stays in the game: its offer will tell.
    """
    estimates: list[CostEstimate] = []
    refused: list[FieldError] = []
    cheapest: tuple[Decimal, CostEstimate] | None = None
    unpriced = False
    rates = usd_rates(sides.able)
    for provider in sides.able:
        sheet = provider.prices
        if sheet is None:
            unpriced = True
            continue
        estimate = CostEstimate(
            provider_id=provider.id,
            price_per_hour=sheet.hourly(spec).rounded(),
            most=sheet.cost(spec, spec.duration),
        )
        reasons = _too_expensive(spec, estimate, sheet, rates)
        if not reasons:
            estimates.append(estimate)
            continue
        sides.objections[provider.id] = reasons
        refused.append(FieldError(field=provider.id, message="; ".join(reasons)))
        price = estimate.price_per_hour.amount * sheet.usd_rate
        if cheapest is None or price < cheapest[0]:
            cheapest = (price, estimate)
    if estimates or unpriced or cheapest is None:
        return estimates
    best = cheapest[1]
    raise OverBudget(
        f"the cheapest provider that can run it is `{best.provider_id}` with "
        f"{best.price_per_hour} per hour, {best.most} for {format_duration(spec.duration)}; "
        f"{_limits(spec)}",
        errors=refused,
    )


def _too_expensive(
    spec: JobSpec, estimate: CostEstimate, sheet: PriceSheet, rates: dict[str, Decimal]
) -> list[str]:
    reasons: list[str] = []
    limit = spec.placement.max_price
    hourly, most = estimate.price_per_hour, estimate.most
    if limit is not None and _more(hourly, limit, sheet, rates, "placement.max_price"):
        reasons.append(f"it costs {hourly} per hour, over the `max_price` of {limit}")
    if spec.budget is not None and _more(most, spec.budget, sheet, rates, "budget"):
        reasons.append(
            f"it costs {most} for {format_duration(spec.duration)}, "
            f"over the `budget` of {spec.budget}"
        )
    return reasons


def _more(
    price: Money, limit: Money, sheet: PriceSheet, rates: dict[str, Decimal], where: str
) -> bool:
    if price.currency == limit.currency:
        return price > limit
    rate = rates.get(limit.currency)
    if rate is None:
        raise _invalid(
            where,
            f"has the currency `{limit.currency}`, for which no provider has a rate; "
            f"known are {', '.join(sorted(rates))}",
        )
    return price.amount * sheet.usd_rate > limit.amount * rate


def usd_rates(providers: Sequence[StoredProvider]) -> dict[str, Decimal]:
    """USD for one unit of each currency that is known."""
    rates = {
        provider.prices.currency: provider.prices.usd_rate
        for provider in providers
        if provider.prices
    }
    return {**rates, "USD": Decimal(1)}


def _limits(spec: JobSpec) -> str:
    limits: list[str] = []
    if spec.placement.max_price is not None:
        limits.append(f"`max_price` {spec.placement.max_price} per hour")
    if spec.budget is not None:
        limits.append(f"`budget` {spec.budget}")
    return f"the job allows {' and '.join(limits)}"


def _usd(estimate: CostEstimate, providers: Sequence[StoredProvider]) -> Decimal:
    rates = {provider.id: provider.prices.usd_rate for provider in providers if provider.prices}
    return estimate.price_per_hour.amount * rates[estimate.provider_id]


def _invalid(where: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the job spec is not valid: `{where}` {message}",
        errors=[FieldError(field=where, message=message)],
    )
