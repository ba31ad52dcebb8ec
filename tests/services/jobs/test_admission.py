"""Deciding about a job by what providers can and cost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cortex.db.providers.repository import StoredProvider
from cortex.domain.conditions import Conditions, SecretLimits
from cortex.domain.errors import InvalidRequest, NoProviderCanRun, OverBudget, ServiceUnavailable
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.spec import JobSpec
from cortex.services.jobs.admission import Assessment, assess, at_index

DAY = timedelta(days=1)


def provider(
    name: str, price: str | None = "1", *, currency: str = "USD", rate: str = "1"
) -> StoredProvider:
    sheet = PriceSheet(currency=currency, cpu_hour=Decimal(price or 0), usd_rate=Decimal(rate))
    return StoredProvider(
        id=name,
        type="test",
        enabled=True,
        status="online",
        message="",
        capabilities=Capabilities(images=True, processes=True),
        prices=sheet if price is not None else None,
        updated_at=datetime.now(UTC),
    )


def demanding(name: str, conditions: Conditions) -> StoredProvider:
    can = Capabilities(images=True, processes=True, conditions=conditions)
    return replace(provider(name), capabilities=can)


def decide(providers: list[StoredProvider], **values: object) -> Assessment:
    spec = JobSpec.model_validate({"command": ["x"], "resources": {"cpu": 1}, **values})
    return assess(spec, providers, max_duration=timedelta(days=30))


class TestConditions:
    """What a network demands of a spec decides before anything is priced or asked."""

    def test_the_others_are_left_and_the_objection_is_shown(self) -> None:
        akash = demanding("akash", Conditions(command_for=("batch",)))
        assessment = assess(JobSpec(image="busybox"), [akash, provider("free")], max_duration=DAY)
        assert [estimate.provider_id for estimate in assessment.estimates] == ["free"]
        (objection,) = assessment.objections
        assert objection.provider_id == "akash"
        assert "needs its `command`" in objection.reasons[0]

    def test_nobody_is_left(self) -> None:
        networks = [
            demanding("akash", Conditions(command_for=("batch",))),
            demanding("golem", Conditions(image_form="x/.*", image_hint="is none of Golem's")),
        ]
        with pytest.raises(NoProviderCanRun) as caught:
            assess(JobSpec(image="busybox"), networks, max_duration=DAY)
        said = {error.field: error.message for error in caught.value.errors}
        assert "needs its `command`" in said["akash"]
        assert said["golem"] == "`image`: `busybox` is none of Golem's"

    def test_secrets_count_with_their_size(self) -> None:
        limits = SecretLimits(largest=5, most=9, hint="so")
        spec = JobSpec.model_validate({"command": ["x"], "secret_env": {"A": "longer than that"}})
        with pytest.raises(NoProviderCanRun, match="`secret_env.A` is larger than the 5"):
            assess(spec, [demanding("akash", Conditions(secret_limits=limits))], max_duration=DAY)


class TestPrices:
    def test_the_cheapest_comes_first_whatever_its_currency(self) -> None:
        verdict = decide([provider("dear"), provider("far", "4", currency="AKT", rate="0.2")])
        assert [estimate.provider_id for estimate in verdict.estimates] == ["far", "dear"]

    def test_a_limit_in_another_currency_goes_through_its_rate(self) -> None:
        akash = provider("akash", "4", currency="AKT", rate="0.2")
        assert decide([akash], placement={"max_price": "0.9 USD"}).estimates
        with pytest.raises(OverBudget, match="4 AKT per hour"):
            decide([akash], placement={"max_price": "0.7 USD"})
        assert decide([akash, provider("usd", "0.5")], budget="3 AKT").estimates

    def test_those_over_the_limit_become_objections(self) -> None:
        verdict = decide([provider("a", "1"), provider("b", "3")], placement={"max_price": "2 USD"})
        assert [estimate.provider_id for estimate in verdict.estimates] == ["a"]
        assert verdict.objections[0].reasons == (
            "it costs 3 USD per hour, over the `max_price` of 2 USD",
        )

    def test_one_without_prices_may_still_offer(self) -> None:
        assert decide([provider("new", None)], budget="0.01 USD") == Assessment()
        decide([provider("new", None), provider("dear", "9")], budget="0.01 USD")

    def test_the_budget_is_for_the_whole_duration(self) -> None:
        assert decide([provider("a")], budget="2 USD", duration="2h").estimates
        with pytest.raises(OverBudget, match="2 USD for 2h"):
            decide([provider("a")], budget="1.99 USD", duration="2h")


class TestAbility:
    def test_nobody_registered(self) -> None:
        with pytest.raises(ServiceUnavailable, match="no worker has registered"):
            decide([])

    def test_every_provider_says_why(self) -> None:
        with pytest.raises(NoProviderCanRun) as caught:
            decide(
                [provider("a"), provider("b")],
                resources={"gpu": {"model": "a100"}},
                placement={"providers": ["a"]},
            )
        said = {error.field: error.message for error in caught.value.errors}
        assert said == {
            "a": "`resources.gpu`: it has no GPU",
            "b": "the job does not allow it (`placement.providers`)",
        }
        inside = at_index(caught.value, 3)
        assert isinstance(inside, NoProviderCanRun)
        assert [error.field for error in inside.errors] == ["jobs[3]", "jobs[3]"]
        assert inside.errors[0].message == "a: `resources.gpu`: it has no GPU"


class TestStrategies:
    def test_a_plugin_may_bring_one(self) -> None:
        spec = JobSpec.model_validate({"command": ["x"], "placement": {"strategy": "near"}})
        assert assess(
            spec, [provider("a")], max_duration=timedelta(days=30), strategies={"cost", "near"}
        ).estimates

    def test_an_unknown_one_is_refused_with_those_that_are_known(self) -> None:
        with pytest.raises(InvalidRequest, match="known are `availability`, `cost`") as caught:
            decide([provider("a")], placement={"strategy": "costs"})
        assert caught.value.errors[0].field == "placement.strategy"
