"""What only Dispersed has: signed calls, titles, images without a command, lost nodes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cortex.domain.conditions.shell import ascii_word
from cortex.domain.rendering.frames import FrameState
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance import eventually
from providers.errors import (
    AuthenticationFailed,
    InsufficientFunds,
    OutcomeUnknown,
    Unsuitable,
)
from providers.render import RenderConfig
from providers.render.dispersed import Dispersed
from providers.render.jobs import made_about, split_image
from tests.providers.render.network import Network
from tests.providers.render.support import ended, key, stand_in_scene


def spec(script: str = "true", **changes: Any) -> JobSpec:
    usual = {"image": "cortex/runner:1", "command": ("sh", "-c", script)}
    return JobSpec.model_validate({**usual, **changes})


class TestCredentials:
    async def test_wrong_secret(self, network: Network) -> None:
        with pytest.raises(AuthenticationFailed, match="signature"):
            await network.dispersed(secret_key="sk_wrong")

    async def test_unknown_key(self, network: Network) -> None:
        with pytest.raises(AuthenticationFailed, match="API key"):
            await network.dispersed(public_key="pk_wrong")

    async def test_a_clock_that_is_an_hour_off(self, network: Network, provider: Dispersed) -> None:
        network.world.clock.skew = timedelta(hours=1)
        assert (await provider.network_status()).reachable
        network.world.clock.skew = timedelta(hours=-1)
        assert (await provider.network_status()).reachable

    def test_keys_are_asked_for(self) -> None:
        with pytest.raises(ValidationError, match="secret_key"):
            RenderConfig(driver="dispersed", public_key="pk_x")


class TestBills:
    async def test_a_clock_that_is_set_back_while_it_runs(
        self, network: Network, provider: Dispersed
    ) -> None:
        """By the times of the job alone it ran for less than no time: the ledger is waited for."""
        ref = (await provider.submit(spec("sleep 1"), key())).ref

        async def runs() -> bool:
            return (await provider.status(ref)).state is RunState.RUNNING

        await eventually(runs, what="the job")
        network.world.clock.skew = timedelta(seconds=-15)
        await ended(provider, ref)
        assert not (await provider.usage(ref)).final
        network.world.clock.skew = timedelta(0)
        usage = await provider.usage(ref)
        (bill,) = await network.world.bill()
        assert usage.final
        assert usage.cost.amount == bill.amount > 0


class TestSubmitting:
    async def test_a_lost_answer_leaves_one_job(
        self, network: Network, provider: Dispersed
    ) -> None:
        lease = key()
        await network.fault(match="POST /v1/jobs", fault="drop_after")
        with pytest.raises(OutcomeUnknown):
            await provider.prepare(spec("sleep 60"), lease)
        at_network = await provider.find(lease)
        assert at_network is not None
        again = await provider.prepare(spec("sleep 60"), lease)
        assert again.ref == at_network.ref
        assert await network.calls("POST", "/v1/jobs") == 1
        await provider.cancel(at_network.ref)

    async def test_of_two_that_submit_at_once_one_lives(
        self, network: Network, provider: Dispersed
    ) -> None:
        lease = key()
        first = (await provider.prepare(spec("sleep 60"), lease)).ref
        # As another worker would that had looked before the first job was there.
        twin = network.world.book.jobs[first.network_id].model_copy(
            update={"uuid": "99999999-2222-3333-4444-555555555555", "run_uuid": "r2"}
        )
        twin.created_at = network.world.moment()
        network.world.book.jobs[twin.uuid] = twin
        await provider.cancel(first)
        alive = [lease for lease in await network.world.leases() if lease.alive]
        assert alive == []

    async def test_no_funds(self, network: Network, provider: Dispersed) -> None:
        await network.act("drain_funds")
        with pytest.raises(InsufficientFunds, match="no credits"):
            await provider.prepare(spec(), key())

    async def test_the_deadline_is_the_networks_too(
        self, network: Network, provider: Dispersed
    ) -> None:
        ref = (await provider.prepare(spec("true", duration="2h"), key())).ref
        body = network.world.book.jobs[ref.network_id].body
        assert body["max_timeout_run_ms"] == 2 * 3600 * 1000
        assert body["title"] == f"cortex:{ref.key}"
        short = (await provider.prepare(spec("true", duration="1s"), key())).ref
        assert network.world.book.jobs[short.network_id].body["max_timeout_run_ms"] == 60_000

    async def test_gpus(self, network: Network, provider: Dispersed) -> None:
        assert provider.capabilities().gpu_models == ("rtx 3090", "rtx 4090", "rtx 5090")
        wanted = spec(resources={"gpu": {"model": "rtx 4090"}})
        offers = await provider.quote(wanted)
        assert [offer.price_per_hour.amount for offer in offers] == [
            network.world.settings.offers[1].hourly
        ]
        ref = (await provider.prepare(wanted, key(), offer=offers[0])).ref
        body = network.world.book.jobs[ref.network_id].body
        assert (body["gpu_name"], body["gpu_count"]) == ("RTX 4090", 1)
        assert await provider.quote(spec(resources={"gpu": {"model": "h100"}})) == []


class TestImages:
    async def test_one_that_runs_its_own_command(self, provider: Dispersed) -> None:
        job = spec(image="someone/hello:2", command=())
        ref = (await provider.submit(job, key())).ref
        assert (await ended(provider, ref)).exit_code == 0
        lines = [line async for line in provider.logs(ref)]
        assert [(line.stream, line.text) for line in lines] == [
            ("stdout", "this image runs its own command")
        ]

    async def test_one_that_ignores_the_command(self, provider: Dispersed) -> None:
        ref = (await provider.submit(spec(image="busybox:1.36"), key())).ref
        last = await ended(provider, ref)
        assert last.exit_code == 125
        assert "entry point" in last.message

    async def test_one_that_another_stands_for(self, network: Network) -> None:
        provider = await network.dispersed(images={"busybox:1.36": "cortex/runner-busybox:1"})
        ref = (await provider.submit(spec("exit 7", image="busybox:1.36"), key())).ref
        assert (await ended(provider, ref)).exit_code == 7
        await provider.aclose()

    async def test_one_that_cannot_be_pulled(self, provider: Dispersed) -> None:
        ref = (await provider.submit(spec(image="no-such/image:1"), key())).ref
        last = await ended(provider, ref)
        assert last.state is RunState.LOST
        assert "could not run it" in last.message

    async def test_without_a_drop_box_outputs_are_refused(self, network: Network) -> None:
        provider = await network.dispersed(drop=False)
        with pytest.raises(Unsuitable, match="drop box"):
            await provider.prepare(spec(outputs=["x"]), key())
        assert await provider.quote(spec()) != []
        await provider.aclose()

    @pytest.mark.parametrize(
        ("reference", "parts"),
        [
            ("busybox", ("busybox", "latest")),
            ("a/b:1", ("a/b", "1")),
            ("host:5000/a/b", ("host:5000/a/b", "latest")),
            ("host:5000/a/b:2", ("host:5000/a/b", "2")),
        ],
    )
    def test_image_and_tag(self, reference: str, parts: tuple[str, str]) -> None:
        assert split_image(reference) == parts

    def test_digests_are_refused(self) -> None:
        with pytest.raises(Unsuitable, match="digest"):
            split_image("a@sha256:00")

    def test_words_are_ascii(self) -> None:
        assert ascii_word("a b") == "'a b'"
        assert ascii_word("ü%\n") == "\"$(printf '\\303\\274\\045')\n\""


class TestFrames:
    async def test_a_lost_node_does_not_take_its_frames_with_it(
        self, network: Network, provider: Dispersed, tmp_path: Path
    ) -> None:
        scene = stand_in_scene(network.folder / "scenes", seconds=0.4)
        job = JobSpec.model_validate(
            {
                "render": {
                    "scene": f"{network.site}/scenes/{scene.name}",
                    "frames": "1-40",
                    "chunk": 40,
                }
            }
        )
        ref = (await provider.submit(job, key())).ref

        async def two() -> bool:
            frames = (await provider.status(ref)).frames
            return sum(frame.state is FrameState.DONE for frame in frames) >= 2

        await eventually(two, timeout=40, what="two frames")
        await network.act("lose_lease", key=ref.key)
        last = await ended(provider, ref)
        assert last.state is RunState.LOST
        done = [str(frame.output) for frame in last.frames if frame.state is FrameState.DONE]
        assert 2 <= len(done) < 40
        written = await provider.outputs(ref, job.kept(), tmp_path / "out")
        assert set(done) == {str(path) for path in written if path.parts[0] == "frames"}
        await provider.forget(ref)
        assert await provider.outputs(ref, job.kept(), tmp_path / "gone") == []

    async def test_scenes_must_be_urls_and_chunks_bounded(self, provider: Dispersed) -> None:
        def render(**values: Any) -> JobSpec:
            section = {"scene": "https://host/a.blend", "frames": "1-300", "chunk": 10, **values}
            return JobSpec.model_validate({"render": section})

        assert await provider.quote(render())
        for values in ({"scene": "/a.blend"}, {"chunk": 1}, {"chunk": 101}):
            assert await provider.quote(render(**values)) == []

    async def test_an_offer_is_for_all_chunks_at_once(self, provider: Dispersed) -> None:
        section = {"scene": "https://host/a.blend", "frames": "1-9", "chunk": 3}
        offers = await provider.quote(JobSpec.model_validate({"render": section}))
        assert offers[0].price_per_hour.amount == 3 * min(
            offer.price_per_hour.amount / 3 for offer in offers
        )


def test_the_time_of_a_key() -> None:
    assert abs(made_about(key()) - datetime.now(UTC)) < timedelta(seconds=5)
