"""Negotiation: who is chosen, what it may cost, and what a bad market looks like."""

import asyncio
import contextlib
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import ValidationError

from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.errors import (
    AuthenticationFailed,
    ImageUnavailable,
    LeaseLost,
    NoCapacity,
    Unavailable,
    Unsuitable,
)
from providers.golem import GolemProvider
from providers.golem.demand import billing_keys, lifetime
from providers.golem.terms import CPU, DURATION, Terms
from tests.providers.golem.conftest import IMAGE, Make, Sim, job, new_key, settings

ACCEPT = "golem.com.payment.debit-notes.accept-timeout?"
PAY = "golem.com.scheme.payu.payment-timeout-sec?"


def terms(vector: list[str], coeffs: list[float]) -> Terms:
    made = Terms.of(
        {
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": coeffs,
            "golem.com.usage.vector": vector,
            "golem.inf.cpu.threads": 4,
        }
    )
    assert made is not None
    return made


class TestTerms:
    def test_an_hour_of_four_threads_whatever_the_order(self) -> None:
        one = terms([DURATION, CPU], [0.00001, 0.00002, 0.01])
        other = terms([CPU, DURATION], [0.00002, 0.00001, 0.01])
        assert one.estimate(Decimal(3600)) == other.estimate(Decimal(3600)) == Decimal("0.334")
        assert one.cost([Decimal(10), Decimal(5)]) == Decimal("0.0102")
        assert other.cost([Decimal(5), Decimal(10)]) == Decimal("0.0102")

    @pytest.mark.parametrize(
        "changes",
        [
            {"golem.com.pricing.model": "auction"},
            {"golem.com.pricing.model.linear.coeffs": [0.1]},
            {"golem.com.pricing.model.linear.coeffs": [0.1, "x"]},
            {"golem.com.pricing.model.linear.coeffs": [-0.1, 0]},
            {"golem.com.usage.vector": ["golem.usage.gpu-sec"]},
        ],
    )
    def test_what_cannot_be_reckoned_is_not_bought(self, changes: dict[str, object]) -> None:
        good: dict[str, object] = {
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": [0.1, 0.2],
            "golem.com.usage.vector": [DURATION],
        }
        assert Terms.of(good) is not None
        assert Terms.of({**good, **changes}) is None


class TestDemand:
    @pytest.mark.parametrize(
        ("minutes", "keys"), [(15, set()), (60, {ACCEPT}), (700, {ACCEPT, PAY})]
    )
    def test_billing_keys_by_length(self, minutes: int, keys: set[str]) -> None:
        made = billing_keys(lifetime(timedelta(minutes=minutes)))
        assert {key for key in (ACCEPT, PAY) if key in made} == keys

    @pytest.mark.parametrize("duration", ["10m", "3h", "12h"])
    async def test_stock_providers_agree_to_every_length(
        self, golem: GolemProvider, sim: Sim, duration: str
    ) -> None:
        reservation = await golem.prepare(job("true", duration=duration), new_key())
        (agreement,) = [a for a in sim.world.core.agreements.values() if a.state == "Approved"]
        assert agreement.id == reservation.ref.network_id
        await golem.cancel(reservation.ref)

    async def test_the_job_is_hidden_until_it_starts(self, golem: GolemProvider, sim: Sim) -> None:
        spec = job("echo visible-word", secret_env={"TOKEN": "s3cret-word"})
        reservation = await golem.prepare(spec, new_key())
        told = str([agreement.demand for agreement in sim.world.core.agreements.values()])
        assert "dev.cortex.sealed" in told
        assert "visible-word" not in told
        assert "s3cret-word" not in told
        await golem.cancel(reservation.ref)


class TestChoice:
    async def test_the_cheapest_comes_first(self, golem: GolemProvider, sim: Sim) -> None:
        offers = await golem.quote(job("true"))
        assert [offer.price_per_hour.amount for offer in offers] == sorted(
            offer.price_per_hour.amount for offer in offers
        )
        cheap = min(
            (n for n in sim.world.core.nodes if n.name.startswith("node")),
            key=lambda n: Terms.of(n.properties).estimate(Decimal(600)),  # type: ignore[union-attr]
        )
        assert offers[0].data["node"] == cheap.id
        assert offers[0].usd_rate == Decimal("0.25")

    async def test_the_offer_is_the_most_it_costs(self, golem: GolemProvider, sim: Sim) -> None:
        offer = (await golem.quote(job("true")))[0]
        reservation = await golem.prepare(job("true"), new_key(), offer=offer)
        assert reservation.ref.data["provider"] == offer.data["node"]
        await golem.cancel(reservation.ref)
        cheap = offer.model_copy(update={"price_per_hour": offer.price_per_hour * Decimal("0.1")})
        quick = golem.config.model_copy(update={"negotiation_timeout": timedelta(seconds=1)})
        other = GolemProvider("golem-sim", quick)
        await other.initialize()
        with pytest.raises(NoCapacity, match="ask more than"):
            await other.prepare(job("true"), new_key(), offer=cheap)
        await other.aclose()

    async def test_a_price_cap_in_dollars(self, make: Make) -> None:
        golem = await make(negotiation_timeout="1s")
        spec = job("true", placement={"max_price": "0.0001 USD"})
        with pytest.raises(NoCapacity, match="ask more than"):
            await golem.prepare(spec, new_key())

    async def test_gpu_jobs_go_to_gpu_machines(self, make: Make) -> None:
        golem = await make(gpu_models=["rtx 4090"])
        spec = job("true", resources={"gpu": {"model": "RTX 4090"}})
        offers = await golem.quote(spec)
        assert ["gpu-0" in offer.hardware for offer in offers] == [True]
        none = job("true", resources={"gpu": {"model": "h100"}})
        assert await golem.quote(none) == []

    async def test_an_empty_market_is_priced_by_its_statistics(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        await sim.act("market", online=False)
        (offer,) = await golem.quote(job("true"))
        assert offer.hardware == "median of the network"
        assert (await golem.pricing()).cpu_hour == Decimal("0.15")
        assert (await golem.pricing()).as_of == datetime(2026, 11, 20, tzinfo=UTC)

    async def test_a_rate_from_a_feed(self, make: Make, sim: Sim) -> None:
        golem = await make(rate_url=f"{sim.url}/rate", usd_rate="9")
        sheet = await golem.pricing()
        assert sheet.usd_rate == Decimal("0.25")
        assert sheet.as_of is not None
        assert datetime.now(UTC) - sheet.as_of < timedelta(minutes=1)


class TestTrouble:
    async def test_no_offers_at_all(self, make: Make, sim: Sim) -> None:
        golem = await make(negotiation_timeout="0.5s")
        await sim.act("market", online=False)
        with pytest.raises(NoCapacity, match="needs some minutes to learn"):
            await golem.prepare(job("true"), new_key())

    async def test_a_rejected_agreement_goes_to_the_next(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        await sim.act("habits", rejects_agreements=2)
        reservation = await golem.prepare(job("true"), new_key())
        states = sorted(agreement.state for agreement in sim.world.core.agreements.values())
        assert states == ["Approved", "Rejected", "Rejected"]
        await golem.cancel(reservation.ref)

    async def test_late_proposals(self, make: Make, sim: Sim) -> None:
        golem = await make(negotiation_timeout="20s")
        await sim.act("habits", proposal_delay=1.5)
        reservation = await golem.prepare(job("true"), new_key())
        await golem.cancel(reservation.ref)

    async def test_a_daemon_that_restarts_while_it_negotiates(self, make: Make, sim: Sim) -> None:
        golem = await make(negotiation_timeout="20s")
        await sim.act("habits", proposal_delay=1.0)
        task = asyncio.create_task(golem.prepare(job("true"), new_key()))

        async def published() -> bool:
            return bool(sim.world.core.demands)

        await eventually(published, what="the demand")
        await sim.act("restart_daemon")
        await sim.act("habits", proposal_delay=0.0)
        reservation = await task
        assert (await golem.find(reservation.ref.key)) is not None
        await golem.cancel(reservation.ref)

    async def test_a_provider_that_gives_no_activity(self, golem: GolemProvider, sim: Sim) -> None:
        reservation = await golem.prepare(job("true"), new_key())
        await sim.act("habits", refuses_activities=1)
        with pytest.raises(NoCapacity, match="creates no activity"):
            await golem.commit(reservation)
        assert not any(lease["alive"] for lease in await sim.books("leases"))
        again = await golem.prepare(job("true"), new_key())
        assert again.ref.data["provider"] != reservation.ref.data["provider"]
        await golem.cancel(again.ref)

    async def test_the_batch_is_never_handed_over_twice(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        reservation = await golem.prepare(job("true"), new_key())
        await sim.faults({"match": "POST */exec", "fault": "drop_before"})
        with pytest.raises(LeaseLost):
            await golem.commit(reservation)
        calls = [call["path"] for call in await sim.books("calls")]
        assert sum(path.endswith("/exec") for path in calls) == 1
        assert not any(lease["alive"] for lease in await sim.books("leases"))

    async def test_a_lease_that_the_provider_ends(self, golem: GolemProvider, sim: Sim) -> None:
        ref = (await golem.submit(job("sleep 60"), new_key())).ref
        await sim.act("lose_lease", key=ref.key)
        status = await golem.status(ref)
        assert status.state is RunState.LOST
        assert "shutting down" in status.message
        await golem.cancel(ref)
        assert (await golem.usage(ref)).final

    async def test_a_provider_that_vanishes_is_released_when_it_is_back(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        ref = (await golem.submit(job("sleep 60"), new_key())).ref
        node = (await sim.act("provider_offline", key=ref.key))["node"]
        with pytest.raises(Exception, match="not be destroyed yet"):
            await golem.cancel(ref)
        assert not (await golem.usage(ref)).final
        await sim.act("provider_online", node=node)
        await golem.cancel(ref)
        assert (await golem.usage(ref)).final

    async def test_a_machine_that_crashes(self, golem: GolemProvider, sim: Sim) -> None:
        ref = (await golem.submit(job("sleep 60"), new_key())).ref

        async def running() -> bool:
            return (await golem.status(ref)).state is RunState.RUNNING

        await eventually(running, what="the running job")
        await sim.act("kill_unit", key=ref.key)
        status = await golem.status(ref)
        assert status.state is RunState.LOST
        assert "no longer runs it" in status.message
        await golem.cancel(ref)

    async def test_a_wrong_key(self, sim: Sim) -> None:
        golem = GolemProvider("golem-sim", settings(sim.url, app_key="wrong"))
        with pytest.raises(AuthenticationFailed, match="app-key"):
            await golem.initialize()
        await golem.aclose()


class TestImages:
    async def test_an_image_that_cannot_be_had(self, golem: GolemProvider) -> None:
        with pytest.raises(Unsuitable, match="GVMI images only"):
            await golem.prepare(job("true", image="acme/no-such:1"), new_key())

    async def test_a_package_that_is_named(self, golem: GolemProvider, sim: Sim) -> None:
        package = f"hash:sha3:{'a' * 56}:http://images.example/x.gvmi"
        reservation = await golem.prepare(job("true", image=package), new_key())
        (agreement,) = sim.world.core.agreements.values()
        assert agreement.demand["properties"]["golem.srv.comp.task_package"] == package
        await golem.cancel(reservation.ref)

    async def test_a_package_that_the_provider_cannot_fetch(
        self, golem: GolemProvider, sim: Sim
    ) -> None:
        package = f"hash:sha3:{'a' * 56}:http://images.example/missing.gvmi"
        reservation = await golem.prepare(job("true", image=package), new_key())
        with contextlib.suppress(ImageUnavailable):  # where it fails at once, `commit` tells it
            await golem.commit(reservation)

        async def over() -> bool:
            return (await golem.status(reservation.ref)).state.final

        await eventually(over, what="the end of the deployment")
        told = (await golem.status(reservation.ref)).message
        assert "deploy" in told
        assert "404" in told or "agreement has ended" in told
        await golem.cancel(reservation.ref)
        assert not any(lease["alive"] for lease in await sim.books("leases"))

    async def test_an_image_is_converted_once(
        self, make: Make, sim: Sim, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A stand-in for `gvmkit-build` notes what it is asked; the registry is the simulator's."""
        folder = tmp_path_factory.mktemp("gvmkit")
        tool = folder / "gvmkit-build"
        tool.write_text(f'#!/bin/sh\necho "$@ as $REGISTRY_USER" >> {folder}/calls\n')
        tool.chmod(0o755)
        golem = await make(
            gvmkit_build=str(tool), push_to="me/jobs", image_cache=str(folder / "cache")
        )
        for _ in range(2):
            reservation = await golem.prepare(job("true", image="busybox"), new_key())
            await golem.cancel(reservation.ref)
        again = await make(
            gvmkit_build=str(tool), push_to="me/jobs", image_cache=str(folder / "cache")
        )
        reservation = await again.prepare(job("true", image="busybox"), new_key())
        await again.cancel(reservation.ref)
        calls = (folder / "calls").read_text().splitlines()
        assert len(calls) == 1
        assert calls[0].startswith("busybox --push-to me/jobs:busybox-")
        assert calls[0].endswith("--nologin as me")

    async def test_a_conversion_that_fails_says_why(
        self, make: Make, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("gvmkit")
        tool = folder / "gvmkit-build"
        tool.write_text("#!/bin/sh\necho 'no docker engine here' >&2\nexit 3\n")
        tool.chmod(0o755)
        golem = await make(gvmkit_build=str(tool), push_to="me/jobs", image_cache=str(folder))
        with pytest.raises(Unsuitable, match="no docker engine here"):
            await golem.prepare(job("true", image="busybox"), new_key())

    async def test_a_mapped_image(self, make: Make) -> None:
        package = f"hash:sha3:{'b' * 56}:http://images.example/y.gvmi"
        golem = await make(images={"busybox:1": package}, registry_url="")
        assert await golem.quote(job("true", image="busybox:1")) != []
        assert await golem.quote(job("true", image=IMAGE)) == []


class TestConfig:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"usd_rate": None}, "needs `usd_rate`"),
            ({"app_key": " "}, "must not be empty"),
            ({"subnet": "a)(b=c"}, "letters, digits"),
            ({"images": {"x": "hash:sha3:12:ftp://y"}}, "56 hex digits"),
            ({"registry_url": "localhost"}, "http://"),
            ({"gpu_models": ["x)(y=*"]}, "letters, digits"),
        ],
    )
    def test_what_cannot_be_right(self, changes: dict[str, object], says: str) -> None:
        with pytest.raises(ValidationError, match=re.escape(says)):
            settings("http://127.0.0.1:1", **changes)

    def test_the_key_is_not_shown(self) -> None:
        assert "golem-simulator" not in repr(settings("http://127.0.0.1:1"))

    async def test_no_price_is_no_price_of_zero(self, make: Make, sim: Sim) -> None:
        golem = await make(stats_url="")
        await sim.act("market", online=False)
        with pytest.raises(Unavailable, match="no price is known"):
            await golem.pricing()
        assert await golem.quote(job("true")) == []

    async def test_a_feed_that_is_away(self, make: Make, sim: Sim) -> None:
        golem = await make(rate_url=f"{sim.url}/nothing", usd_rate=None)
        with pytest.raises(Unavailable, match="rate_url"):
            await golem.pricing()
