"""Trouble with networks, made by their simulators: the events say what happened and what is next.

Each story goes through workflow, activities, adapter and the network's own protocol; those of all
networks are lived through at the same time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.jobs import Job, Reason
from cortex.domain.states import JobState, LeaseState
from cortex.embedded.simulators import SIMULATORS
from cortex.settings import MonitorSettings, ProviderSettings
from providers.conformance import slowdown
from tests.integration.conftest import Stage, StageMaker
from tests.integration.networks import Network, network
from tests.integration.story import troubles
from tests.support import eventually
from tests.support.rows import open_holds

# Each starts all networks and a stage anew.
pytestmark = pytest.mark.slow

WRONG_KEYS: dict[str, dict[str, Any]] = {
    "akash": {"api_key": "ac.sk.wrong"},
    "golem": {"app_key": "wrong"},
    "nosana": {"api_key": "nos_wrong"},
    "render": {"secret_key": "sk_wrong"},
}
EMPTY_WALLET = {"akash": "empty_wallet"}
"""What a simulator calls it that has a `drain_funds` of another kind."""

TACITURN = {"render"}
"""Networks that do not say why a container could not be started."""

IMPATIENT: dict[str, dict[str, Any]] = {"akash": {"ready_within": 4}}
"""Providers that would let a test wait for minutes."""


class Scene:
    """All simulated networks, and a stage with a provider for each."""

    def __init__(self, nets: list[Network], stage: Stage) -> None:
        self.nets = nets
        self.stage = stage

    async def each(self, story: Callable[[Network], Awaitable[None]]) -> None:
        """Live through a story on every network at once."""
        async with self.stage.worker():
            await asyncio.gather(*(story(net) for net in self.nets))
        async with self.stage.database.transaction() as tx:
            assert not await open_holds(tx)
        for net in self.nets:
            assert not await net.alive(), net.name

    def provide(self, entries: dict[str, dict[str, Any]]) -> None:
        """More providers, or others of the same name, for workers that open from now on."""
        new = {name: ProviderSettings.model_validate(entry) for name, entry in entries.items()}
        providers = {**self.stage.settings.providers, **new}
        self.stage.settings = self.stage.settings.model_copy(update={"providers": providers})

    async def open(self, provider_id: str) -> None:
        """Wait until the worker has the provider open."""

        async def online() -> bool:
            async with self.stage.database.transaction() as tx:
                matching = [
                    provider for provider in await tx.providers.all() if provider.id == provider_id
                ]
            return bool(matching) and matching[0].status == "online"

        await eventually(online, what=f"{provider_id} online")

    async def submit(self, provider_id: str, script: str = "echo hello", **changes: Any) -> str:
        """Submit a small job that only this provider may run."""
        # Longer where the machine is slow: what is looked for must be looked at once.
        search = f"{round(8 * slowdown())}s"
        placement = {"timeout": search, **changes.pop("placement", {})}
        return await self.stage.submit(
            **{
                "image": "busybox",
                "command": ["sh", "-c", script],
                "resources": {"cpu": "500m", "memory": "256Mi"},
                "duration": "10m",
                "placement": {"providers": [provider_id], **placement},
                **changes,
            },
        )

    async def ended(self, job_id: str) -> Job:
        """The job at its end, with all its leases released."""
        job = await self.stage.ended(job_id, within=80)
        async with self.stage.database.transaction() as tx:
            leases = await tx.leases.of_job(job_id)
        assert {lease.state for lease in leases} <= {LeaseState.RELEASED}
        return job

    async def told(self, job_id: str) -> str:
        """What the events tell of trouble, as one text."""
        return "\n".join(await troubles(self.stage, job_id))

    async def tells(self, job_id: str, words: str) -> None:
        """Wait until the events tell it."""

        async def there() -> bool:
            return words in await self.told(job_id)

        await eventually(there, within=40, what=f"`{words}` of {job_id}")

    async def runs(self, job_id: str, attempt: int = 1) -> int:
        """Wait until it runs, in this attempt or a later one; which one it is."""

        async def running() -> bool:
            job = await self.stage.job(job_id)
            assert not job.state.terminal, job.message
            return job.state == JobState.RUNNING and job.attempt >= attempt

        try:
            await eventually(running, within=60, what=f"attempt {attempt} of {job_id} running")
        except AssertionError as error:
            job = await self.stage.job(job_id)
            story = f"{job.state}, {job.message}; told: {await self.told(job_id)}"
            raise AssertionError(f"{error}; {story}") from None
        return (await self.stage.job(job_id)).attempt

    async def cancel(self, job_id: str) -> None:
        """Ask for a cancellation as the API does."""
        async with self.stage.database.transaction() as tx:
            await tx.jobs.lock(job_id)
            if await tx.jobs.move(job_id, JobState.CANCELLING, message="cancel requested"):
                await tx.commands.add(job_id, "cancel", {"reason": "test"})


@pytest.fixture
async def scene(tmp_path: Path, make_stage: StageMaker) -> AsyncIterator[Scene]:
    """Everything that a story needs."""
    async with AsyncExitStack() as stack:
        nets = [
            await stack.enter_async_context(network(name, tmp_path / name)) for name in SIMULATORS
        ]
        entries = {net.provider_id: net.entry(**IMPATIENT.get(net.name, {})) for net in nets}
        stage = await make_stage(**entries)
        # Tests wait for minutes of nobody.
        monitor = MonitorSettings(
            heartbeat_timeout=timedelta(seconds=3), tell_after=timedelta(seconds=1)
        )
        stage.settings = stage.settings.model_copy(update={"monitor": monitor})
        yield Scene(nets, stage)


class TestBeforeItRuns:
    async def test_what_no_network_takes(self, scene: Scene) -> None:
        wrong = {f"{net.name}-bad": net.entry(**WRONG_KEYS[net.name]) for net in scene.nets}
        scene.provide(wrong)

        async def story(net: Network) -> None:
            await asyncio.gather(
                self.wrong_key(scene, net),
                self.price_cap(scene, net),
                self.unknown_gpu(scene, net),
                self.unknown_image(scene, net),
            )

        await scene.each(story)

    async def wrong_key(self, scene: Scene, net: Network) -> None:
        job = await scene.ended(await scene.submit(f"{net.name}-bad"))
        told = await scene.told(job.id)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        assert f"`{net.name}-bad`: it cannot be used now: " in told
        assert any(word in told for word in ("key", "credentials")), told
        assert "Cortex asks again in 2s, and gives up at " in told

    async def price_cap(self, scene: Scene, net: Network) -> None:
        placement = {"max_price": "0.0000001 USD"}
        job = await scene.ended(await scene.submit(net.provider_id, placement=placement))
        told = await scene.told(job.id)
        assert job.reason == Reason.NO_CAPACITY
        assert "the limit is 0.0000001 USD" in told
        assert "Cortex asks again in 2s" in told
        assert "the limit is 0.0000001 USD" in job.message

    async def unknown_gpu(self, scene: Scene, net: Network) -> None:
        resources = {"cpu": 1, "memory": "1Gi", "gpu": {"model": "no-such-gpu"}}
        job = await scene.ended(await scene.submit(net.provider_id, resources=resources))
        # It is the spec: nobody is asked again.
        assert job.reason == Reason.NO_CAPACITY
        assert "GPU" in job.message
        assert "Cortex asks again" not in await scene.told(job.id)

    async def unknown_image(self, scene: Scene, net: Network) -> None:
        image, none = "acme/no-such-image:1", {"on_lost": 0}
        job = await scene.ended(await scene.submit(net.provider_id, image=image, retries=none))
        assert job.state == JobState.FAILED
        told = f"{await scene.told(job.id)} {job.message}"
        assert (image if net.name not in TACITURN else "could not run it") in told

    async def test_empty_wallet(self, scene: Scene) -> None:
        async def story(net: Network) -> None:
            await net.act(EMPTY_WALLET.get(net.name, "drain_funds"))
            job = await scene.ended(await scene.submit(net.provider_id))
            told = await scene.told(job.id)
            assert (job.state, job.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
            assert any(word in told for word in ("balance", "funds", "wallet", "credit")), told
            assert "Cortex takes the next offer" in told or "Cortex asks again" in told

        await scene.each(story)

    async def test_key_that_was_revoked(self, scene: Scene) -> None:
        async def story(net: Network) -> None:
            # Questions are still answered: it shows when something is ordered.
            refused = {"match": "POST *", "fault": "error_before", "status": 401}
            await scene.open(net.provider_id)
            await net.faults({**refused, "times": 1_000_000})
            job = await scene.ended(await scene.submit(net.provider_id))
            told = f"{await scene.told(job.id)} {job.message}"
            await net.faults()
            assert job.state == JobState.FAILED
            assert any(word in told for word in ("key", "credentials")), told
            assert net.provider_id in told

        await scene.each(story)

    async def test_network_that_is_down(self, scene: Scene) -> None:
        async def story(net: Network) -> None:
            await net.faults({"match": "* *", "fault": "drop_before", "times": 1_000_000})
            job_id = await scene.submit(net.provider_id, placement={"timeout": "60s"})
            await scene.tells(job_id, "Cortex ")
            assert f"`{net.provider_id}`" in await scene.told(job_id)
            await net.faults()
            assert (await scene.ended(job_id)).state == JobState.COMPLETED

        await scene.each(story)

    async def test_network_that_talks_nonsense(self, scene: Scene) -> None:
        """Web pages instead of data, then 500 for everything: it is told, and it passes."""

        async def story(net: Network) -> None:
            everything = {"match": "* *", "times": 1_000_000}
            await net.faults({**everything, "fault": "web_page", "page_status": 403})
            job_id = await scene.submit(net.provider_id, placement={"timeout": "90s"})
            await scene.tells(job_id, "a web page (`Just a moment...`)")
            await net.faults({**everything, "fault": "error_before", "status": 500})
            await scene.tells(job_id, "500")
            told = await scene.told(job_id)
            assert "<" not in told
            assert "secret" not in told
            await net.faults()
            assert (await scene.ended(job_id)).state == JobState.COMPLETED

        await scene.each(story)


class TestWhileItRuns:
    async def test_provider_that_vanishes(self, scene: Scene) -> None:
        async def story(net: Network) -> None:
            await asyncio.gather(self.given_up(scene, net), self.started_anew(scene, net))

        await scene.each(story)

    async def given_up(self, scene: Scene, net: Network) -> None:
        patient, none = {"timeout": "60s"}, {"on_lost": 0}
        job_id = await scene.submit(net.provider_id, "sleep 60", placement=patient, retries=none)
        attempt = await scene.runs(job_id)
        await net.act("lose_lease", key=f"{job_id}-{attempt}")
        job = await scene.ended(job_id)
        assert (job.state, job.reason) == (JobState.FAILED, Reason.LEASE_LOST)
        assert job.message.startswith(f"`{net.provider_id}` lost the lease")
        assert "`retries.on_lost` is 0" in job.message

    async def started_anew(self, scene: Scene, net: Network) -> None:
        job_id = await scene.submit(net.provider_id, "sleep 60", placement={"timeout": "60s"})
        attempt = await scene.runs(job_id)
        await net.act("lose_lease", key=f"{job_id}-{attempt}")
        await scene.runs(job_id, attempt + 1)
        told = await scene.told(job_id)
        assert f"`{net.provider_id}` lost the lease" in told
        assert "Cortex starts the job anew elsewhere in 2s, start 1 of 3 after a loss" in told
        await scene.cancel(job_id)
        assert (await scene.ended(job_id)).state == JobState.CANCELLED

    async def test_network_that_is_down_for_a_while(self, scene: Scene) -> None:
        async def story(net: Network) -> None:
            job_id = await scene.submit(net.provider_id, "sleep 300", placement={"timeout": "60s"})
            attempt = await scene.runs(job_id)
            await net.faults({"match": "* *", "fault": "drop_before", "times": 1_000_000})
            await scene.tells(job_id, f"`{net.provider_id}` does not answer: ")
            assert "Cortex keeps asking, and the job's deadline holds" in await scene.told(job_id)
            await net.faults()
            await scene.tells(job_id, "answers again; Cortex watches the job as before")
            await scene.cancel(job_id)
            job = await scene.ended(job_id)
            assert (job.state, job.attempt) == (JobState.CANCELLED, attempt)

        await scene.each(story)

    async def test_answers_that_are_none(self, scene: Scene) -> None:
        """A service that fails at everything, and a proxy that answers in its place."""

        async def story(net: Network) -> None:
            await self.strange(
                scene, net, {"fault": "error_before", "status": 500}, ("500", "503", "unavailable")
            )
            await self.strange(scene, net, {"fault": "web_page"}, ("Just a moment...",))

        await scene.each(story)

    async def strange(
        self, scene: Scene, net: Network, rule: dict[str, Any], words: tuple[str, ...]
    ) -> None:
        """It answers so to all while the job runs, and still when the job is to be released."""
        job_id = await scene.submit(net.provider_id, "sleep 300", placement={"timeout": "60s"})
        attempt = await scene.runs(job_id)
        await net.faults({"match": "* *", "times": 1_000_000, **rule})
        await scene.tells(job_id, f"`{net.provider_id}` does not answer: ")
        await scene.cancel(job_id)
        await scene.tells(job_id, "could not release the lease")
        told = await scene.told(job_id)
        assert "<" not in told
        assert any(word in told for word in words), told
        await net.faults()
        job = await scene.ended(job_id)
        assert (job.state, job.attempt) == (JobState.CANCELLED, attempt)


class TestAkash:
    """What only a market of bids can do to a job."""

    @pytest.fixture
    async def akash(self, scene: Scene) -> Network:
        return next(net for net in scene.nets if net.name == "akash")

    async def test_provider_that_bids_and_vanishes(self, scene: Scene, akash: Network) -> None:
        await akash.act("refuse_manifest", times=1000)
        async with scene.stage.worker():
            patient = {"timeout": "90s"}
            job_id = await scene.submit(akash.provider_id, placement=patient)
            await scene.tells(job_id, "Cortex ")
            assert f"`{akash.provider_id}`" in await scene.told(job_id)
            await akash.act("refuse_manifest", times=0)
            job = await scene.ended(job_id)
        assert job.state == JobState.COMPLETED, job.message
        assert not await akash.alive()

    async def test_credit_that_another_job_has_locked(self, scene: Scene, akash: Network) -> None:
        """402 for a second creation: the next offer is taken, and the events say why."""
        # A quote does not look at the account's credit: the creation meets it.
        scene.provide({akash.provider_id: akash.entry(count_credit=False)})
        async with scene.stage.worker():
            patient = {"timeout": "60s"}
            first = await scene.submit(akash.provider_id, "sleep 300", placement=patient)
            await scene.runs(first)
            await akash.act("empty_wallet", left="0.3")
            providers = [akash.provider_id, "nosana-sim"]
            second = await scene.submit(
                akash.provider_id, placement={"timeout": "60s", "providers": providers}
            )
            job = await scene.ended(second)
            told = await scene.told(second)
            await scene.cancel(first)
            await scene.ended(first)
        assert job.state == JobState.COMPLETED, job.message
        assert "Not enough balance to cover the deployment deposit" in told
        assert "0.30 USD are free" in told
        assert "are locked in deployments that run" in told
        assert "Cortex takes the next offer" in told
        assert not await akash.alive()

    async def test_nobody_bids(self, scene: Scene, akash: Network) -> None:
        await akash.act("no_bids")
        scene.provide({akash.provider_id: akash.entry(bid_wait=0.5, bid_deadline=1)})
        async with scene.stage.worker():
            job = await scene.ended(await scene.submit(akash.provider_id))
        assert (job.state, job.reason) == (JobState.FAILED, Reason.NO_CAPACITY)
        told = await scene.told(job.id)
        assert "bid" in told
        assert "Cortex takes the next offer" in told
        assert not await akash.alive()
