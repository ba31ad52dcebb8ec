"""Blender itself: pictures, processes that are killed, and what a worker's end leaves alone."""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from cortex.domain.rendering.frames import FrameState
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.conformance import eventually, size_of
from providers.errors import InvalidSpec, Unavailable, Unsuitable
from providers.render import RenderConfig, RenderProvider
from providers.render.local import LocalRender
from tests.providers.render.support import STAND_IN, ended, key, painters, stand_in_scene


def spec(scene: Path | str, frames: str, **fields: Any) -> JobSpec:
    render = {
        "scene": str(scene),
        "frames": frames,
        "samples": 2,
        "resolution": {"width": 64, "height": 36},
        **fields,
    }
    return JobSpec.model_validate({"render": render})


@pytest_asyncio.fixture
async def blender(state_dir: Path, blend: Path) -> AsyncIterator[RenderProvider]:
    provider = RenderProvider("render", RenderConfig(driver="local", state_dir=state_dir))
    await provider.initialize()
    yield provider
    for ref in await provider.owned():
        await provider.forget(ref)
    await provider.aclose()


@pytest_asyncio.fixture
async def quick(state_dir: Path) -> AsyncIterator[LocalRender]:
    """With what stands in for Blender."""
    config = RenderConfig(
        driver="local", state_dir=state_dir, isolation="none", scene_limit=10_000_000
    )
    provider = LocalRender("render", config, painter=STAND_IN)
    await provider.initialize()
    yield provider
    for ref in await provider.owned():
        await provider.forget(ref)
    await provider.aclose()


class TestPictures:
    @pytest.mark.parametrize(
        ("form", "start"), [("PNG", b"\x89PNG"), ("JPEG", b"\xff\xd8"), ("OPEN_EXR", b"v/1\x01")]
    )
    async def test_formats(
        self, blender: RenderProvider, blend: Path, tmp_path: Path, form: str, start: bytes
    ) -> None:
        wanted = spec(blend, "1", format=form)
        ref = (await blender.submit(wanted, key())).ref
        last = await ended(blender, ref)
        assert last.exit_code == 0, [line.text async for line in blender.logs(ref)]
        await blender.outputs(ref, wanted.kept(), tmp_path)
        output = last.frames[0].output
        assert output is not None
        assert (tmp_path / output).read_bytes().startswith(start)
        assert size_of(tmp_path / "previews" / "frame_000001.png") == (64, 36)

    async def test_frames_differ_and_a_frame_is_the_same_each_time(
        self, blender: RenderProvider, blend: Path, tmp_path: Path
    ) -> None:
        digests: list[list[str]] = []
        for run in ("a", "b"):
            wanted = spec(blend, "1,12", previews=False, engine="cycles")
            ref = (await blender.submit(wanted, key())).ref
            await ended(blender, ref)
            written = await blender.outputs(ref, wanted.kept(), tmp_path / run)
            files = [tmp_path / run / path for path in sorted(written)]
            digests.append([hashlib.sha256(pixels_of(path)).hexdigest() for path in files])
        assert len(set(digests[0])) == 2
        assert digests[0] == digests[1]

    async def test_a_file_that_is_no_scene(self, blender: RenderProvider, tmp_path: Path) -> None:
        (tmp_path / "not.blend").write_bytes(b"not a scene at all" * 100)
        ref = (await blender.submit(spec(tmp_path / "not.blend", "1-3"), key())).ref
        last = await ended(blender, ref)
        assert last.exit_code == 1
        assert "frames 1, 2, 3 could not be rendered" in last.message
        assert {frame.attempts for frame in last.frames} == {0}


class TestKills:
    async def test_a_killed_frame_is_rendered_anew_alone(
        self, blender: RenderProvider, blend: Path
    ) -> None:
        size = {"width": 192, "height": 108}
        wanted = spec(blend, "1-4", chunk=4, samples=24, resolution=size)
        ref = (await blender.submit(wanted, key())).ref

        async def busy() -> int | None:
            frames = (await blender.status(ref)).frames
            return next((f.frame for f in frames if f.state is FrameState.RENDERING), None)

        number = await eventually(busy, timeout=30, interval=0.02, what="a frame")
        for process in painters(blender_folder(blender)):
            process.kill()
        last = await ended(blender, ref)
        assert last.exit_code == 0
        attempts = {frame.frame: frame.attempts for frame in last.frames}
        again = [frame for frame, count in attempts.items() if count > 1]
        assert len(again) == 1, attempts
        assert number is not None
        assert again[0] in (number, number + 1)
        log = [line.text async for line in blender.logs(ref)]
        assert f"frame {again[0]} is rendered anew: its process was ended by SIGKILL" in log

    async def test_the_supervisor_outlives_the_provider(
        self, quick: LocalRender, state_dir: Path, tmp_path: Path
    ) -> None:
        scene = stand_in_scene(tmp_path, seconds=0.3)
        ref = (await quick.submit(spec(scene, "1-5"), key())).ref
        await quick.aclose()
        later = LocalRender("render", quick.config, painter=STAND_IN)
        await later.initialize()
        last = await ended(later, ref)
        await later.aclose()
        assert last.exit_code == 0
        assert [frame.attempts for frame in last.frames] == [1] * 5

    async def test_a_lost_lease_keeps_its_frames(self, quick: LocalRender, tmp_path: Path) -> None:
        scene = stand_in_scene(tmp_path, seconds=0.3)
        ref = (await quick.submit(spec(scene, "1-200"), key())).ref

        async def two_done() -> bool:
            return (await quick.status(ref)).progress >= 2 / 200  # type: ignore[operator]

        await eventually(two_done, what="two frames")
        shims = [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(quick.state_dir / ref.key) in (process.info["cmdline"] or [])
        ]
        assert len(shims) == 1
        shims[0].kill()
        last = await ended(quick, ref)
        assert last.state is RunState.LOST
        done = [frame.frame for frame in last.frames if frame.state is FrameState.DONE]
        assert done[:2] == [1, 2]
        assert FrameState.RENDERING not in {frame.state for frame in last.frames}
        written = await quick.outputs(ref, ("frames",), tmp_path / "out")
        assert len(written) >= len(done)


class TestScenes:
    async def test_digest_is_checked(self, quick: LocalRender, tmp_path: Path) -> None:
        scene = stand_in_scene(tmp_path)
        right = hashlib.sha256(scene.read_bytes()).hexdigest()
        await quick.prepare(spec(scene, "1", sha256=right), key())
        with pytest.raises(InvalidSpec, match="SHA-256"):
            await quick.prepare(spec(scene, "1", sha256="0" * 64), key())
        assert len(await quick.owned()) == 1

    async def test_too_large(self, quick: LocalRender, tmp_path: Path) -> None:
        scene = tmp_path / "large.blend"
        scene.write_bytes(b"0" * 10_000_001)
        with pytest.raises(Unsuitable, match="larger than"):
            await quick.prepare(spec(scene, "1"), key())
        assert await quick.owned() == []

    async def test_larger_than_the_jobs_storage(self, quick: LocalRender, tmp_path: Path) -> None:
        scene = tmp_path / "large.blend"
        scene.write_bytes(b"0" * 200_000)
        small = spec(scene, "1")
        need = small.resources.model_copy(update={"storage": 100_000})
        with pytest.raises(InvalidSpec, match=r"resources\.storage"):
            await quick.prepare(small.model_copy(update={"resources": need}), key())

    async def test_only_from_where_it_may(self, state_dir: Path, tmp_path: Path) -> None:
        allowed, other = tmp_path / "allowed", tmp_path / "other"
        allowed.mkdir()
        other.mkdir()
        secret = stand_in_scene(other)
        (allowed / "link.blend").symlink_to(secret)
        config = RenderConfig(
            driver="local", state_dir=state_dir, isolation="none", scene_folders=(allowed,)
        )
        provider = LocalRender("render", config, painter=STAND_IN)
        await provider.initialize()
        assert await provider.quote(spec(stand_in_scene(allowed), "1"))
        assert await provider.quote(spec(secret, "1")) == []
        with pytest.raises(Unsuitable, match="leads out"):
            await provider.prepare(spec(allowed / "link.blend", "1"), key())
        await provider.aclose()

    async def test_not_from_a_private_network(self, quick: LocalRender) -> None:
        for host in ("127.0.0.1:9", "localhost:9", "10.0.0.1", "[::1]:9", "169.254.169.254"):
            with pytest.raises(Unsuitable, match="private network"):
                await quick.prepare(spec(f"http://{host}/a.blend", "1"), key())
        assert await quick.owned() == []

    async def test_s3_is_not_fetched(self, quick: LocalRender) -> None:
        assert await quick.quote(spec("s3://bucket/a.blend", "1")) == []

    async def test_fetched(self, state_dir: Path, tmp_path: Path) -> None:
        scene = stand_in_scene(tmp_path)
        server = await asyncio.start_server(_serve(scene.read_bytes()), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        config = RenderConfig(
            driver="local", state_dir=state_dir, isolation="none", private_scene_urls=True
        )
        provider = LocalRender("render", config, painter=STAND_IN)
        await provider.initialize()
        async with server:
            await provider.prepare(spec(f"http://127.0.0.1:{port}/a.blend", "1"), key())
            with pytest.raises(InvalidSpec, match="404"):
                await provider.prepare(spec(f"http://127.0.0.1:{port}/missing", "1"), key())
        with pytest.raises(Unavailable):
            await provider.prepare(spec(f"http://127.0.0.1:{port}/a.blend", "1"), key())
        for ref in await provider.owned():
            await provider.forget(ref)
        await provider.aclose()


class TestBlenderItself:
    async def test_a_python_without_it(self, state_dir: Path, tmp_path: Path) -> None:
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho \"No module named 'bpy'\" >&2; exit 1\n")
        python.chmod(0o755)
        config = RenderConfig(driver="local", state_dir=state_dir, python=python)
        with pytest.raises(Unavailable, match="No module named 'bpy'"):
            await RenderProvider("render", config).initialize()
        config = RenderConfig(driver="local", state_dir=state_dir, python=tmp_path / "none")
        with pytest.raises(Unavailable, match="cannot be run"):
            await RenderProvider("render", config).initialize()


def pixels_of(path: Path) -> bytes:
    """The picture in a PNG, without what Blender writes about date and time beside it."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    return zlib.decompress(packed)


def blender_folder(provider: RenderProvider) -> Path:
    folder = provider.config.state_dir
    assert folder is not None
    return folder


def _serve(body: bytes) -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        known = request.startswith(b"GET /a.blend ")
        head = b"HTTP/1.1 200 OK" if known else b"HTTP/1.1 404 Not Found"
        content = body if known else b""
        writer.write(head + b"\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        await writer.drain()
        writer.close()

    return answer
