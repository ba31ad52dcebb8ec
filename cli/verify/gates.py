"""What has to be so before anything is bought: a provider that is there, an offer, money."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_UP, Decimal

from cli.verify.model import Result, Step
from cli.verify.trial import LABEL, Plan
from cortex.client import ApiError, AsyncCortex
from cortex.client._routes.jobs import JobFilter
from cortex.domain.money import Money
from cortex.domain.providers.circuit import CircuitState
from cortex.domain.units import format_duration
from cortex.schemas.jobs import Quote, RankedOffer
from cortex.schemas.providers import ProviderTestResult, ProviderView

_HOUR = Decimal(3600)
_RUNS = 2


class CouldNotRun(Exception):
    """Nothing is bought: why, and what to do."""

    def __init__(self, step: str, observed: str, todo: str = "", expected: str = "") -> None:
        super().__init__(observed)
        self.step = Step(
            name=step, result=Result.FAILED, expected=expected, observed=observed, todo=todo
        )


@dataclass(frozen=True)
class Estimate:
    """The cheapest offer, and what both runs cost if they take all their time."""

    offer: RankedOffer
    usd: Money
    outputs: bool
    why_no_outputs: str = ""


def usable(view: ProviderView) -> None:
    """Go on only with a provider that takes jobs.

    Raises:
        CouldNotRun: why it takes none.
    """
    name = view.id
    if not view.configured:
        raise CouldNotRun(
            "account",
            f"`{name}` is in the settings of no worker any more",
            "put it back there, or add it (`cortex provider add`)",
        )
    if not view.enabled:
        todo = (
            f"`cortex provider enable {name}` switches it on"
            if view.source == "api"
            else f"set `enabled` in `[providers.{name}]` of the workers' settings"
        )
        raise CouldNotRun("account", f"`{name}` is switched off", todo)


async def account(cortex: AsyncCortex, view: ProviderView) -> tuple[Step, ProviderTestResult]:
    """Whether the network answers, and knows the account.

    Raises:
        CouldNotRun: it does not.
    """
    expected = "the network answers, and takes the credentials"
    try:
        tested = await cortex.test_provider(view.id)
    except ApiError as error:
        raise CouldNotRun("account", error.detail, expected=expected) from None
    if not tested.ok:
        raise CouldNotRun("account", tested.message, _renew(view, tested.message), expected)
    latency = "" if tested.latency_ms is None else f" in {tested.latency_ms} ms"
    balance = f", balance {tested.balance}" if tested.balance is not None else ""
    version = f", version {tested.network_version}" if tested.network_version else ""
    observed = f"it answers{latency}{version}{balance}"
    if view.circuit.state is not CircuitState.CLOSED:
        raise CouldNotRun(
            "account",
            f"it answers now, but takes no jobs after failed calls: {view.circuit.reason}",
            "wait for its next probe (`cortex providers`), and try again",
            expected,
        )
    return Step(name="account", result=Result.OK, expected=expected, observed=observed), tested


def _renew(view: ProviderView, message: str) -> str:
    if "credentials" not in message:
        return "see to it that the address in its configuration is right and can be reached"
    names = " ".join(f"--ask {name}" for name in view.secrets) or "--ask NAME"
    if view.source == "settings":
        return f"renew its credentials in `[providers.{view.id}]` of the workers' settings"
    return f"renew its credentials: `cortex provider update {view.id} {names}`"


async def nothing_else_runs(cortex: AsyncCortex, provider_id: str) -> None:
    """Two verifications at once would spend twice and judge each other.

    Raises:
        CouldNotRun: one is under way.
    """
    page = await cortex.jobs(JobFilter(labels={LABEL: provider_id}), limit=100)
    for job in page.items:
        if not job.state.terminal:
            raise CouldNotRun(
                "account",
                f"a verification of `{provider_id}` is under way: job {job.id} is {job.state}",
                f"wait for its end, or end it: `cortex cancel {job.id}`",
            )


async def estimate(cortex: AsyncCortex, plan: Plan) -> Estimate:
    """The cheapest offer for the runs.

    Raises:
        CouldNotRun: there is none, or none within the budget.
    """
    why_not = plan.trial.no_outputs
    quote = await _quote(cortex, plan)
    if not quote.offers and plan.outputs:
        plain = await _quote(cortex, _without_outputs(plan))
        if plain.offers:
            why_not = f"no offer for a job with result files: {_reasons(quote, plan)}"
            return _priced(plain.offers, plan, outputs=False, why=why_not)
    if not quote.offers:
        raise CouldNotRun(
            "offer",
            f"no offer: {_reasons(quote, plan)}",
            "`--image` names another image, `--timeout` another limit",
            "an offer for a small job",
        )
    return _priced(quote.offers, plan, outputs=plan.outputs, why=why_not)


async def _quote(cortex: AsyncCortex, plan: Plan) -> Quote:
    spec = plan.spec("command")
    # The price is judged here, where it can be told what would have to be given.
    placement = spec.placement.model_copy(update={"max_price": None})
    try:
        return await cortex.quote(spec.model_copy(update={"placement": placement, "budget": None}))
    except ApiError as error:
        raise CouldNotRun("offer", error.detail, expected="an offer for a small job") from None


def _without_outputs(plan: Plan) -> Plan:
    return Plan(**{**plan.__dict__, "outputs": False})


def _reasons(quote: Quote, plan: Plan) -> str:
    for objection in quote.objections:
        if objection.provider_id == plan.provider_id:
            return "; ".join(objection.reasons)
    return "it says no reason"


def _priced(offers: Sequence[RankedOffer], plan: Plan, *, outputs: bool, why: str) -> Estimate:
    best = min(offers, key=lambda offer: offer.usd_per_hour)
    usd = _for_all(best.usd_per_hour, plan.duration)
    if usd.amount > plan.budget.amount:
        limit = format_duration(plan.duration)
        raise CouldNotRun(
            "offer",
            f"the cheapest offer is {best.offer.price_per_hour} per hour; two runs of at most "
            f"{limit} may cost {usd}, over the budget of {plan.budget}",
            f"give `--budget {usd.amount}`, or a shorter `--timeout`",
            f"two runs within {plan.budget}",
        )
    return Estimate(best, usd, outputs, why)


def _for_all(usd_per_hour: Decimal, duration: timedelta) -> Money:
    hours = Decimal(_RUNS * (duration // timedelta(seconds=1))) / _HOUR
    amount = (usd_per_hour * hours).quantize(Decimal("0.0001"), rounding=ROUND_UP)
    return Money(amount=amount, currency="USD")


def offer_step(estimate: Estimate, plan: Plan) -> Step:
    """What is offered."""
    offer = estimate.offer.offer
    hardware = f" ({offer.hardware})" if offer.hardware else ""
    return Step(
        name="offer",
        result=Result.OK,
        expected=f"two runs within {plan.budget}",
        observed=f"{offer.price_per_hour} per hour{hardware}; both runs at most {estimate.usd}",
    )


def enough_money(balance: Money | None, estimate: Estimate) -> None:
    """Refuse an account that is empty, before it is asked to pay.

    Raises:
        CouldNotRun: what it has, and what it needs.
    """
    if balance is None:
        return
    offer = estimate.offer.offer
    need = estimate.usd
    if balance.currency != "USD" and balance.currency == offer.price_per_hour.currency:
        rate = offer.usd_rate or Decimal(1)
        amount = (estimate.usd.amount / rate).quantize(Decimal("0.0001"), rounding=ROUND_UP)
        need = Money(amount=amount, currency=balance.currency)
    free = not offer.price_per_hour.amount
    short = balance.currency == need.currency and balance.amount < need.amount
    if not free and (short or balance.amount <= 0):
        raise CouldNotRun(
            "offer",
            f"the account has {balance}, and both runs may cost {need}",
            "pay money in at the network, and try again",
            "an account that can pay for both runs",
        )
