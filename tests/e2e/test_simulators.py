"""A stack with all simulated networks: their offers, jobs on each, bills as they have them."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from cortex.domain.money import Money
from cortex.domain.states import JobState
from cortex.embedded.simulators import SIMULATORS, provider_id, service_name, simulated_providers
from cortex.schemas.jobs import JobView
from simulators.registry import names
from tests.e2e.support import Command, check_books, files_in, shell, started
from tests.support import eventually, patience
from tests.support.stack import Stack, running_stack, short_folder
from tests.support.verify import assert_as_expected, by_name, verified

pytestmark = pytest.mark.e2e

PROVIDERS = [provider_id(name) for name in SIMULATORS]
TRAIN = "examples/train.yaml"


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    """A stack of its own with the simulators, once all their providers are open."""
    with short_folder("ctx-sim-") as folder:
        async with running_stack(folder, simulators=True) as running:

            async def online() -> bool:
                providers = await running.client.providers()
                return {
                    provider.id for provider in providers if provider.status == "online"
                } >= set(PROVIDERS)

            await eventually(online, within=30, what=f"{PROVIDERS} online")
            yield running


@pytest.fixture
def cortex(stack: Stack) -> Command:
    """The `cortex` command, pointed at the stack's data folder."""
    return Command(stack.config.data_dir)


async def bill(stack: Stack, provider: str, key: str) -> Money:
    """What the simulator itself charges for a lease."""
    url = stack.config.simulator_urls()[provider.removesuffix("-sim")]
    async with httpx.AsyncClient() as http:
        entries = (await http.get(f"{url}/_sim/bill")).json()
    (entry,) = [entry for entry in entries if entry["key"] == key]
    assert entry["final"], entry
    return Money(amount=Decimal(str(entry["amount"])), currency=entry["currency"])


async def charge(stack: Stack, job_id: str) -> Money:
    """What Cortex has booked for the one lease of a job."""
    entries = [entry async for entry in stack.client.iter_ledger(job_id)]
    (amount,) = [entry.amount for entry in entries if entry.kind == "charge"]
    return amount


def test_the_stack_knows_every_simulator() -> None:
    assert set(SIMULATORS) == set(names())


class TestQuote:
    async def test_offers_of_all_networks_are_ranked_with_reasons(self, cortex: Command) -> None:
        answer = (await cortex("quote", "--json", TRAIN)).json()[0]
        offers = answer["offers"]
        assert {offer["offer"]["provider_id"] for offer in offers} >= set(PROVIDERS)
        prices = [Decimal(offer["usd_per_hour"]) for offer in offers]
        assert prices == sorted(prices)
        for row in offers:
            offer = row["offer"]
            assert row["why"]
            assert row["availability_source"]
            assert Decimal(row["usd_per_hour"]) == (
                Decimal(offer["price_per_hour"]["amount"]) * Decimal(offer["usd_rate"])
            )
            if offer["price_per_hour"]["currency"] != "USD":
                assert offer["rate_as_of"], offer
        (objection,) = [o for o in answer["objections"] if o["provider_id"] == "local"]
        assert objection["reasons"] == ["`image`: it runs no container images"]

    async def test_it_is_shown_to_people(self, cortex: Command) -> None:
        shown = (await cortex("quote", TRAIN)).out
        assert shown.startswith("ranked by cost (price 100%)\n")
        for name in PROVIDERS:
            assert f"`{name}`: available: " in shown
        assert "not `local`: `image`: it runs no container images" in shown

    async def test_those_that_are_not_asked_say_why(self, cortex: Command, tmp_path: Path) -> None:
        file = tmp_path / "job.json"
        placement = {"providers": [PROVIDERS[0]]}
        file.write_text(
            json.dumps({"image": "busybox", "command": ["true"], "placement": placement})
        )
        answer = (await cortex("quote", "--json", str(file))).json()[0]
        assert {row["offer"]["provider_id"] for row in answer["offers"]} == {PROVIDERS[0]}
        told = {
            objection["provider_id"]: objection["reasons"] for objection in answer["objections"]
        }
        for name in PROVIDERS[1:]:
            assert told[name] == ["the job does not allow it (`placement.providers`)"]


class TestJobs:
    async def test_each_network_runs_the_example_and_bills_it(
        self, stack: Stack, cortex: Command, tmp_path: Path
    ) -> None:
        await asyncio.gather(*(self.train(stack, cortex, name, tmp_path) for name in PROVIDERS))

    async def train(self, stack: Stack, cortex: Command, provider: str, folder: Path) -> None:
        done = await cortex("run", TRAIN, "--provider", provider)
        assert '"slope": 3.0' in done.out or '"slope": 2.9' in done.out, done
        assert "trained for 2000 epochs" in done.err
        job_id = done.err.split()[0]
        job = await stack.client.job(job_id)
        assert (job.state, job.exit_code, job.provider_id) == (JobState.COMPLETED, 0, provider)
        target = folder / provider
        await cortex("outputs", "get", job_id, "-o", str(target))
        assert files_in(target) == ["model.json"]
        assert json.loads((target / "model.json").read_text())["loss"] < 0.01
        assert (await self.same_bill(stack, job)).amount > 0

    async def same_bill(self, stack: Stack, job: JobView) -> Money:
        assert job.provider_id is not None
        (lease,) = job.leases
        booked = await charge(stack, job.id)
        assert booked == await bill(stack, job.provider_id, lease.key)
        await check_books(stack, [job.id])
        return booked

    @pytest.mark.parametrize("provider", PROVIDERS)
    async def test_exit_code(self, stack: Stack, provider: str) -> None:
        spec = shell("echo no >&2; exit 9", image="busybox", placement={"providers": [provider]})
        job = await stack.client.run(spec, timeout=patience(60))
        assert (job.state, job.exit_code) == (JobState.FAILED, 9)
        await self.same_bill(stack, await stack.client.job(job.id))


class TestVerify:
    """`cortex provider verify` against each of them: all is as the adapters promise."""

    async def test_each_network(self, stack: Stack, cortex: Command, tmp_path: Path) -> None:
        await asyncio.gather(*(self.one(stack, cortex, name, tmp_path) for name in PROVIDERS))

    async def one(self, stack: Stack, cortex: Command, provider: str, folder: Path) -> None:
        # A simulator costs nothing: nobody is asked, and no `--yes` is needed.
        told = await verified(cortex, provider, folder, "--timeout", "2m")
        assert_as_expected(told)
        assert told.simulated
        for run in told.runs:
            (key,) = run.lease_keys
            assert run.charged == (await bill(stack, provider, key),)
        assert 0 < told.spent.amount < told.budget.amount
        await check_books(stack, [run.job_id for run in told.runs])
        text = (folder / f"{provider}.json").read_text()
        config = simulated_providers({provider.removesuffix("-sim"): ""})[provider]
        secret = [text for name, text in config.items() if "key" in name]
        for planted in (*secret, stack.config.api_key, str(stack.config.data_dir)):
            assert planted not in text

    async def test_an_image_that_cannot_be_had(self, cortex: Command, tmp_path: Path) -> None:
        options = ("--image", "nowhere/no-such:1", "--timeout", "30s")
        told = await verified(cortex, "nosana-sim", tmp_path, *options, code=1)
        (step,) = [step for step in told.steps if step.name == "exit code"]
        assert "no-such" in step.observed
        assert "--image" in step.todo
        assert by_name(told)["nothing left"] == "ok"

    async def test_ctrl_c_ends_what_runs(
        self, stack: Stack, cortex: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "report.md"
        words = ("provider", "verify", "akash-sim", "--report", str(file))
        async with cortex.on_terminal(*words) as terminal:
            await terminal.shows("trying `akash-sim`")
            terminal.press("\x03")
            assert await terminal.ends() == 130
        assert "interrupted: it was interrupted, and its jobs were cancelled" in terminal.text
        text = file.read_text()
        assert text.startswith("# Verification of provider `akash-sim`: interrupted\n")
        (job,) = (await stack.client.jobs(limit=1)).items
        assert job.labels["cortex.verify"] == "akash-sim"
        assert job.state is JobState.CANCELLED
        assert f"`{job.id}`" in text
        await check_books(stack, [job.id])
        url = stack.config.simulator_urls()["akash"]
        async with httpx.AsyncClient() as http:
            leases = (await http.get(f"{url}/_sim/leases")).json()
        assert not [lease for lease in leases if lease["alive"]]


class TestRestart:
    async def test_jobs_survive_a_restart_of_everything(
        self, stack: Stack, cortex: Command
    ) -> None:
        script = "echo begun; sleep 10; echo done; exit 5"
        jobs = [
            await stack.client.submit(
                shell(script, image="busybox", placement={"providers": [provider]})
            )
            for provider in PROVIDERS
        ]
        await started(stack, [job.id for job in jobs])
        before = stack.config.simulator_ports
        await cortex("down")
        await stack.start()
        assert stack.config.simulator_ports == before
        for job in jobs:
            ended = await stack.client.wait(job.id, timeout=patience(90))
            assert ended.exit_code == 5, ended
        await check_books(stack, [job.id for job in jobs])

    async def test_status_shows_them(self, cortex: Command) -> None:
        status = (await cortex("status", "--json")).json()[0]
        parts = {process["name"]: process["phase"] for process in status["stack"]["processes"]}
        assert {parts[service_name(name)] for name in SIMULATORS} == {"ready"}
