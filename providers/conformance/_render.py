"""The checks of a driver that renders: frames one by one, each paid once."""

import asyncio
import struct
from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance._harness import AnyProvider, Harness
from providers.conformance._waiting import eventually
from providers.errors import LeaseLost, ProviderError

_SIZE = (64, 36)
_PNG = b"\x89PNG\r\n\x1a\n"


class RenderConformance(Harness):
    """The suite of a provider that renders; subclass it as `TestSomething`."""

    slow: ClassVar[float] = 0.6
    """Seconds that a frame takes in the tests that look while it is rendered."""
    bills_frames: ClassVar[bool] = True
    """Whether the cost of a frame is known."""
    checks_scenes: ClassVar[bool] = True
    """Whether a scene that is not there is noticed before anything is leased."""
    live_frames: ClassVar[bool] = True
    """Whether the frames of a run that goes on can be seen."""

    @abstractmethod
    def scene(self, *, seconds: float = 0, fails: Mapping[int, int] | None = None) -> str:
        """A scene: each frame takes so long, and the named frames fail so many times.

        Where that cannot be had, it skips the test (`pytest.skip`).
        """

    def render_spec(
        self,
        frames: str = "1-3",
        *,
        seconds: float = 0,
        fails: Mapping[int, int] | None = None,
        **fields: Any,
    ) -> JobSpec:
        """A small render job. `fields` are those of its `render` section."""
        render = {
            "scene": self.scene(seconds=seconds, fails=fails),
            "frames": frames,
            "samples": 1,
            "resolution": {"width": _SIZE[0], "height": _SIZE[1]},
            **fields,
        }
        return JobSpec.model_validate({"name": "shot", "render": render, "duration": "10m"})

    async def begin(self, provider: AnyProvider, spec: JobSpec) -> LeaseRef:
        """Submit a render job; returns at once."""
        return (await provider.submit(spec, self.key())).ref

    async def rendered(self, provider: AnyProvider, spec: JobSpec) -> LeaseSnapshot:
        """Submit a render job and wait for its end."""
        return await self.ended(provider, await self.begin(provider, spec))

    async def test_it_renders_and_says_so(self, provider: AnyProvider) -> None:
        can = provider.capabilities()
        assert can.render
        assert can.objections(self.render_spec()) == []
        assert await provider.quote(self.render_spec())
        nowhere = self.render_spec().model_copy(
            update={"placement": self.spec("x", placement={"regions": ["no-such"]}).placement}
        )
        assert await provider.quote(nowhere) == []

    async def test_prepare_is_idempotent_and_runs_nothing(self, provider: AnyProvider) -> None:
        spec, key = self.render_spec(), self.key()
        first = await provider.prepare(spec, key)
        again = await provider.prepare(spec, key)
        elsewhere = await (await self.another()).prepare(spec, key)
        assert first.ref == again.ref == elsewhere.ref
        assert await self.mine(provider) == [key]
        lease = await provider.find(key)
        assert lease is not None
        if provider.capabilities().two_phase:
            assert not lease.committed
            assert not (await provider.usage(first.ref)).cost.amount

    async def test_a_reservation_can_be_abandoned(self, provider: AnyProvider) -> None:
        key = self.key()
        reservation = await provider.prepare(self.render_spec(), key)
        await provider.cancel(reservation.ref)
        assert (await provider.usage(reservation.ref)).final
        if provider.capabilities().two_phase:
            with pytest.raises(LeaseLost):
                await provider.commit(reservation)
        await provider.forget(reservation.ref)
        if self.forgets:
            assert await provider.find(key) is None
        assert await self.mine(provider) == []

    async def test_commit_at_once_renders_once(self, provider: AnyProvider) -> None:
        other = await self.another()
        reservation = await provider.prepare(self.render_spec("1-2"), self.key())
        done = [await provider.commit(reservation)]
        done += await asyncio.gather(
            *(instance.commit(reservation) for instance in (provider, other))
        )
        assert {commit.ref.network_id for commit in done} == {done[0].ref.network_id}
        last = await self.ended(provider, done[0].ref)
        assert [frame.attempts for frame in last.frames] == [1, 1]
        lease = await provider.find(reservation.ref.key)
        assert lease is not None
        assert lease.committed

    async def test_an_unknown_key_is_not_found(self, provider: AnyProvider) -> None:
        assert await provider.find(self.key()) is None

    async def test_a_scene_that_is_not_there(self, provider: AnyProvider) -> None:
        spec = self.render_spec()
        assert spec.render is not None
        missing = spec.render.model_copy(update={"scene": f"{spec.render.scene}.missing"})
        spec = spec.model_copy(update={"render": missing})
        if not self.checks_scenes:
            last = await self.rendered(provider, spec)
            assert last.exit_code not in (0, None)
            assert last.message
            return
        with pytest.raises(ProviderError, match="scene"):
            await provider.prepare(spec, self.key())
        assert await self.mine(provider) == []

    async def test_frames_and_files(self, provider: AnyProvider, tmp_path: Path) -> None:
        spec = self.render_spec("2-6x2,9", chunk=2)
        last = await self.rendered(provider, spec)
        assert (last.state, last.exit_code) == (RunState.EXITED, 0), last.message
        assert last.progress == 1
        assert [frame.frame for frame in last.frames] == [2, 4, 6, 9]
        assert {frame.state for frame in last.frames} == {FrameState.DONE}
        assert [frame.attempts for frame in last.frames] == [1] * 4
        ref = await self._ref(provider, last.key)
        written = await provider.outputs(ref, spec.kept(), tmp_path / "out")
        outputs = {frame.output for frame in last.frames}
        assert outputs <= {str(path) for path in written}
        for frame in last.frames:
            assert size_of(tmp_path / "out" / str(frame.output)) == _SIZE
        previews = [path for path in written if path.parts[0] == "previews"]
        assert len(previews) == 4
        assert all(size_of(tmp_path / "out" / path)[0] <= 256 for path in previews)

    async def test_progress_never_goes_back(self, provider: AnyProvider) -> None:
        if not self.live_frames:
            pytest.skip("here frames are known when they are over")
        ref = await self.begin(provider, self.render_spec("1-4", seconds=self.slow))
        seen: list[int] = []
        while True:
            snapshot = await provider.status(ref)
            seen.append(_done(snapshot))
            if snapshot.state.final:
                break
            await asyncio.sleep(self.interval)
        assert seen == sorted(seen)
        assert seen[-1] == 4
        assert len(set(seen)) > 2, f"no progress was to be seen: {seen}"

    async def test_a_frame_that_fails_is_rendered_anew_alone(self, provider: AnyProvider) -> None:
        spec = self.render_spec("1-4", fails={2: 2}, chunk=2, retries=2)
        last = await self.rendered(provider, spec)
        assert (last.state, last.exit_code) == (RunState.EXITED, 0), last.message
        assert [frame.attempts for frame in last.frames] == [1, 3, 1, 1]

    async def test_a_frame_that_keeps_failing(self, provider: AnyProvider, tmp_path: Path) -> None:
        spec = self.render_spec("1-3", fails={2: 99}, retries=1)
        last = await self.rendered(provider, spec)
        assert last.state is RunState.EXITED
        assert last.exit_code not in (0, None)
        assert "frame 2" in last.message
        states = [frame.state for frame in last.frames]
        assert states == [FrameState.DONE, FrameState.FAILED, FrameState.DONE]
        assert last.frames[1].attempts == 2
        assert last.frames[1].message
        ref = await self._ref(provider, last.key)
        written = await provider.outputs(ref, spec.kept(), tmp_path / "out")
        kept = {str(path) for path in written if path.parts[0] == "frames"}
        assert kept == {str(last.frames[0].output), str(last.frames[2].output)}

    async def test_nothing_is_left_to_render(self, provider: AnyProvider) -> None:
        """What an attempt gets whose predecessor was lost after its last frame."""
        spec = self.render_spec("1-2")
        assert spec.render is not None
        nothing = spec.model_copy(update={"render": spec.render.without(frozenset({1, 2}))})
        last = await self.rendered(provider, nothing)
        assert (last.state, last.exit_code, last.frames) == (RunState.EXITED, 0, ())

    async def test_cancel_keeps_what_is_done(self, provider: AnyProvider, tmp_path: Path) -> None:
        spec = self.render_spec("1-60", seconds=self.slow, chunk=20)
        ref = await self.begin(provider, spec)
        if self.live_frames:
            await eventually(
                lambda: self._some_done(provider, ref), timeout=self.patience, what="a frame"
            )
        await asyncio.wait_for(provider.cancel(ref), self.patience)
        await (await self.another()).cancel(ref)
        last = await provider.status(ref)
        assert last.state.final
        assert last.exit_code != 0
        assert not [frame for frame in last.frames if frame.state is FrameState.RENDERING]
        assert (await provider.usage(ref)).final
        written = await provider.outputs(ref, spec.kept(), tmp_path / "out")
        frames = {str(path) for path in written if path.parts[0] == "frames"}
        assert {frame.output for frame in last.frames if frame.output} <= frames
        for path in frames:
            assert size_of(tmp_path / "out" / path) == _SIZE

    async def test_cost(self, provider: AnyProvider) -> None:
        last = await self.rendered(provider, self.render_spec("1-2", seconds=0.3))
        ref = await self._ref(provider, last.key)
        await provider.cancel(ref)
        usage = await provider.usage(ref)
        assert usage.final
        assert await (await self.another()).usage(ref) == usage
        if self.bills_frames:
            costs = [frame.cost for frame in last.frames if frame.cost is not None]
            assert len(costs) == 2
            assert {cost.currency for cost in costs} == {usage.cost.currency}
            total = sum((cost.amount for cost in costs), Decimal(0))
            assert 0 < total <= usage.cost.amount

    async def test_no_secret_is_told(self, provider: AnyProvider) -> None:
        ref = await self.begin(provider, self.render_spec("1"))
        await self.ended(provider, ref)
        told = ref.model_dump_json() + repr(provider.config)
        told += "".join([line.text async for line in provider.logs(ref)])
        for value in dict(provider.config).values():
            secret = getattr(value, "get_secret_value", None)
            if secret is not None:
                assert secret() not in told

    async def _some_done(self, provider: AnyProvider, ref: LeaseRef) -> bool:
        return _done(await provider.status(ref)) > 0

    async def _ref(self, provider: AnyProvider, key: str) -> LeaseRef:
        lease = await provider.find(key)
        assert lease is not None
        return lease.ref


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG file."""
    data = path.read_bytes()
    assert data.startswith(_PNG), path
    width, height = struct.unpack(">II", data[16:24])
    return int(width), int(height)


def _done(snapshot: LeaseSnapshot) -> int:
    frames: tuple[FrameStatus, ...] = snapshot.frames
    return sum(frame.state is FrameState.DONE for frame in frames)
