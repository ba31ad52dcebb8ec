"""How `cortex quote` shows offers: the ranking, what it is built on, and who makes no offer."""

from decimal import Decimal

from cli import render
from cli.errors import CliError, ExitCode
from cli.state import State
from cortex.domain.money import format_amount
from cortex.domain.spec import Weights
from cortex.schemas.jobs import Quote, RankedOffer

_COLUMNS = (
    "#",
    "PROVIDER",
    "PER HOUR",
    "USD/H",
    "RATE AGE",
    "AT MOST",
    "REGION",
    "HARDWARE",
    "WAIT",
    "AVAILABLE",
    "SCORE",
    "WHY",
)
_RIGHT = (0, 2, 3, 4, 5, 8, 9, 10)
# What a narrow terminal does without; all of it stands in `--json`.
_SPARE = (7, 6, 4, 11)


def show_quote(state: State, answer: Quote) -> None:
    """The offers as a table, then where the numbers come from, then the objections.

    Raises:
        CliError: there is no offer.
    """
    if state.json:
        render.print_json(answer)
        return
    if answer.offers:
        print(_strategy(answer))
        rows = [_row(ranked) for ranked in answer.offers]
        render.table(state, _COLUMNS, rows, right=_RIGHT, spare=_SPARE)
        # Several offers of one provider have the same sources.
        for line in dict.fromkeys(line for ranked in answer.offers for line in _sources(ranked)):
            print(render.printable(line))
    for objection in answer.objections:
        reasons = "; ".join(objection.reasons)
        print(render.printable(f"not `{objection.provider_id}`: {reasons}"))
    if not answer.offers:
        raise CliError("no provider can run it", code="no_provider", exit_code=ExitCode.BAD_INPUT)


def _strategy(answer: Quote) -> str:
    text = "ranked by weights of its own" if answer.own_weights else f"ranked by {answer.strategy}"
    if answer.weights is not None:
        text += f" ({_weights(answer.weights)})"
    return f"{text}; {answer.note}" if answer.note else text


def _weights(weights: Weights) -> str:
    sides = (
        ("price", weights.cost),
        ("speed", weights.performance),
        ("availability", weights.availability),
    )
    total = weights.total()
    return ", ".join(f"{name} {weight / total:.0%}" for name, weight in sides if weight)


def _row(ranked: RankedOffer) -> tuple[str, ...]:
    offer = ranked.offer
    price = offer.price_per_hour
    wait = offer.expected_wait if ranked.wait is None else ranked.wait
    return (
        str(ranked.rank),
        offer.provider_id,
        f"{_short(price.amount)} {price.currency}",
        _short(ranked.usd_per_hour),
        _rate_age(ranked),
        f"{_short(ranked.most.amount)} {ranked.most.currency}",
        offer.region or "-",
        offer.hardware or "-",
        render.span(wait),
        "-" if ranked.availability is None else f"{ranked.availability:.1%}",
        "-" if ranked.score is None else f"{ranked.score:.3f}",
        ranked.why,
    )


def _rate_age(ranked: RankedOffer) -> str:
    if ranked.offer.price_per_hour.currency == "USD":
        return "-"
    if ranked.offer.rate_as_of is None:
        return "?"
    return render.age(ranked.offer.rate_as_of)


def _sources(ranked: RankedOffer) -> list[str]:
    """What the numbers of one offer are built on, and what is to be noted of it."""
    who = f"`{ranked.offer.provider_id}`"
    told = [f"available: {ranked.availability_source}"] if ranked.availability_source else []
    if ranked.wait_source:
        told.append(f"wait: {ranked.wait_source}")
    lines = [f"{who}: {'; '.join(told)}"] if told else []
    return [*lines, *(f"{who}: note: {note}" for note in ranked.notes)]


def _short(amount: Decimal) -> str:
    """Six digits that count: enough to compare, and `--json` has them all."""
    return format_amount(Decimal(f"{amount:.6g}"))
