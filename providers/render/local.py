"""The driver `local`: renders with Blender on this machine, as jobs of the `local` provider.

A lease is one of that provider's, so it outlives the worker and is isolated as told in
docs/providers/local.md. Its working folder holds the scene, the plan and the journal of the
frames (`blender/supervise.py`); nothing is kept in this process.
"""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from cortex.domain.conditions import Conditions
from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.metrics import Sample
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.rendering import Render
from cortex.domain.rendering.frames import FrameState
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from cortex.domain.units import about_bytes, format_bytes
from cortex.settings import default_data_dir
from providers.base import (
    Committed,
    Found,
    LogLine,
    NetworkStatus,
    Provider,
    ProviderConfig,
    Report,
    Reservation,
    no_report,
)
from providers.errors import InvalidSpec, LeaseLost, ProviderError, Unavailable, Unsuitable
from providers.local import LocalConfig, LocalProvider
from providers.render._journal import Journal, dump, failure_of, frame_statuses
from providers.render.config import RenderConfig
from providers.render.scenes import Scenes

_OURS = ".render"
_INSIDE = "/cortex-render"
_SCRIPTS = ("supervise.py", "paint.py")
_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "OPEN_EXR": "exr"}
_PROBE = "import bpy, json, sys; print(json.dumps([bpy.app.version_string, sys.prefix, \
sys.base_prefix]))"
_PROBE_TIMEOUT = 120.0
_LOOK = timedelta(seconds=1)


@dataclass(frozen=True)
class Blender:
    """The Python that has Blender."""

    python: str
    version: str
    folders: tuple[Path, ...]


class LocalRender(Provider[RenderConfig]):
    type_name: ClassVar[str] = "render"
    Config: ClassVar[type[ProviderConfig]] = RenderConfig

    def __init__(
        self, provider_id: str, config: RenderConfig, *, painter: Path | None = None
    ) -> None:
        """`painter` is a script that renders in place of Blender: for simulators."""
        super().__init__(provider_id, config)
        self._painter = painter
        self.state_dir = (
            config.state_dir or default_data_dir() / "providers" / provider_id
        ).absolute()
        self._scenes = Scenes(config.scene_limit, config.scene_folders, config.private_scene_urls)
        self._blender: Blender | None = None
        self._local = self._runtime(())
        self._journals: dict[str, Journal] = {}
        self._live = False

    async def initialize(self) -> None:
        if self._painter is not None:
            self._blender = Blender(sys.executable, "stand-in", ())
        elif self._blender is None:
            self._blender = await _find_blender(self.config.python)
        self._local = self._runtime(self._blender.folders)
        await self._local.initialize()

    async def aclose(self) -> None:
        await self._local.aclose()

    def capabilities(self) -> Capabilities:
        below = self._local.capabilities()
        return Capabilities(
            images=False,
            processes=False,
            services=False,
            render=True,
            render_engines=tuple(self.config.engines),
            max_cpu=below.max_cpu,
            max_memory=below.max_memory,
            poll_interval=below.poll_interval,
            metrics=below.metrics,
            conditions=Conditions(scenes=self._scenes.limits),
        )

    async def pricing(self) -> PriceSheet:
        return await self._local.pricing()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        if spec.render is None or self.capabilities().objections(spec):
            return []
        version = self._blender.version if self._blender else "?"
        offers = await self._local.quote(_command(spec, []))
        return [
            offer.model_copy(update={"hardware": f"Blender {version}, {offer.hardware}"})
            for offer in offers
        ]

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        render, blender = spec.render, self._blender
        ref = LeaseRef(key=key, network_id=key)
        if await self._plan(ref) is not None:
            return Reservation(ref=ref)
        if blender is None:
            raise Unavailable(f"provider `{self.id}` is not initialized")
        if render is None:
            raise Unsuitable(f"`{self.id}` cannot run this job: it renders scenes only")
        problems = self.capabilities().objections(spec)
        if problems:
            raise Unsuitable(f"`{self.id}` cannot run this job: {'; '.join(problems)}")
        argv = [blender.python, "-I", f"{_OURS}/supervise.py", f"{_OURS}/plan.json"]
        # In a sandbox the folder of the job covers what else has its name: Blender might lie there.
        sandboxed = self._local.capabilities().read_only_root
        command = _command(spec, argv, workdir=_INSIDE if sandboxed else None)
        reservation = await self._local.prepare(command, key)
        try:
            await self._fill(spec, render, ref, report)
        except ProviderError:
            await self._local.forget(reservation.ref)
            raise
        return reservation

    async def commit(self, reservation: Reservation) -> Committed:
        if await self._plan(reservation.ref) is None:
            raise LeaseLost(f"there is no lease `{reservation.ref.key}`")
        done = await self._local.commit(reservation)
        self._live = True
        snapshot = None if done.snapshot is None else await self._with_frames(done.snapshot)
        return done.model_copy(update={"snapshot": snapshot})

    async def find(self, key: str) -> Found | None:
        lease = await self._local.find(key)
        if lease is None or lease.committed:
            return lease
        # One whose scene was not brought whole is made anew, not started.
        return None if await self._plan(lease.ref) is None else lease

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        known = {ref.key for ref in refs}
        self._journals = {key: journal for key, journal in self._journals.items() if key in known}
        snapshots = await self._local.statuses(refs)
        self._live = any(not snapshot.state.final for snapshot in snapshots)
        return [await self._with_frames(snapshot) for snapshot in snapshots]

    async def cancel(self, ref: LeaseRef) -> None:
        await self._local.cancel(ref)

    async def forget(self, ref: LeaseRef) -> None:
        self._journals.pop(ref.key, None)
        await self._local.forget(ref)

    async def usage(self, ref: LeaseRef) -> Usage:
        return await self._local.usage(ref)

    async def metrics(self, refs: Sequence[LeaseRef]) -> list[Sample]:
        return await self._local.metrics(refs)

    def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        return self._local.logs(ref, since=since, follow=follow)

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        return await self._local.outputs(ref, paths, destination)

    async def owned(self) -> list[LeaseRef]:
        return await self._local.owned()

    async def network_status(self) -> NetworkStatus:
        status = await self._local.network_status()
        if self._blender is None:
            return status.model_copy(update={"reachable": False, "message": "not initialized"})
        return status.model_copy(update={"version": f"Blender {self._blender.version}"})

    async def wait_for_change(self, timeout: timedelta) -> None:
        """Frames ring no bell: while some are rendered, they are looked at every second."""
        await self._local.wait_for_change(min(timeout, _LOOK) if self._live else timeout)

    def _runtime(self, folders: tuple[Path, ...]) -> LocalProvider:
        config = self.config
        return LocalProvider(
            self.id,
            LocalConfig(
                state_dir=self.state_dir,
                isolation=config.isolation,
                network=config.network,
                read_only_paths=folders,
                prices=config.prices,
                max_jobs=config.max_jobs,
                stop_grace=config.stop_grace,
            ),
        )

    def _work(self, key: str) -> Path:
        return self.state_dir / key / "work"

    def _agreed(self, key: str) -> Path:
        return self.state_dir / key / "render.json"

    async def _fill(self, spec: JobSpec, render: Render, ref: LeaseRef, report: Report) -> None:
        """Bring scene, scripts and plan into the lease's folder."""
        folder = self._work(ref.key) / _OURS
        try:
            await asyncio.to_thread(_copy_scripts, folder, self._painter)
            scene = folder / "scene.blend"
            await self._scenes.place(render, scene, report)
            size = (await asyncio.to_thread(scene.stat)).st_size
            if size >= spec.resources.storage:
                raise InvalidSpec(
                    f"the scene has {about_bytes(size)}, and `resources.storage` is "
                    f"{format_bytes(spec.resources.storage)}"
                )
            plan = self._make_plan(spec, render)
            await asyncio.to_thread(dump, folder / "plan.json", plan)
            # Ours, where no scene can write; the last, as the sign that all of it is there.
            told = {"frames": plan["frames"], "painter_hour": plan["painter_hour"]}
            await asyncio.to_thread(dump, self._agreed(ref.key), told)
        except FileNotFoundError as error:
            raise Unavailable(f"lease `{ref.key}` was removed while it was made") from error
        except OSError as error:
            raise Unavailable(f"the scene cannot be kept: {error.strerror}") from error

    def _make_plan(self, spec: JobSpec, render: Render) -> dict[str, Any]:
        cores = max(1, int(spec.resources.cpu))
        frames = render.numbers()
        chunks = -(-len(frames) // render.chunk)
        workers = max(1, min(cores, chunks))
        python = self._blender.python if self._blender else sys.executable
        size = render.resolution
        hourly = self.config.prices.sheet().hourly(spec)
        return {
            "scene": f"{_OURS}/scene.blend",
            "journal": f"{_OURS}/journal",
            "painter": [python, "-I", f"{_OURS}/paint.py"],
            "frames": frames,
            "chunk": render.chunk,
            "retries": render.retries,
            "workers": workers,
            "threads": max(1, cores // workers),
            "engine": render.engine,
            "samples": render.samples,
            "resolution": [size.width, size.height] if size else None,
            "format": render.format,
            "extension": _EXTENSIONS[render.format],
            "previews": render.previews,
            "painter_hour": {"amount": str(hourly.amount / workers), "currency": hourly.currency},
        }

    async def _plan(self, ref: LeaseRef) -> dict[str, Any] | None:
        """What was agreed; None if the lease is gone, or was never made whole."""
        if ref.network_id != ref.key or not is_lease_key(ref.key):
            return None
        return await asyncio.to_thread(_read_plan, self._agreed(ref.key))

    async def _with_frames(self, snapshot: LeaseSnapshot) -> LeaseSnapshot:
        plan = await self._plan(LeaseRef(key=snapshot.key, network_id=snapshot.key))
        if plan is None:
            return snapshot
        journal = self._journals.setdefault(
            snapshot.key, Journal(self._work(snapshot.key) / _OURS / "journal")
        )
        entries = await asyncio.to_thread(journal.read)
        hourly = Money.model_validate(plan["painter_hour"])
        numbers = tuple(plan["frames"])
        frames = frame_statuses(numbers, entries, hourly, ended=snapshot.state.final)
        done = sum(frame.state is FrameState.DONE for frame in frames)
        changes: dict[str, Any] = {"frames": frames}
        if frames:
            changes["progress"] = (Decimal(done) / len(frames)).quantize(Decimal("0.00001"))
        if snapshot.state is RunState.EXITED and snapshot.exit_code and not snapshot.message:
            changes["message"] = failure_of(frames)
        return snapshot.model_copy(update=changes)


async def _find_blender(python: Path | None) -> Blender:
    """Ask the Python that is to render whether it can."""
    chosen = str(python or sys.executable)
    hint = "install Blender's `bpy` for it, or name another one with `python`"
    try:
        process = await asyncio.create_subprocess_exec(
            chosen,
            "-I",
            "-c",
            _PROBE,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise Unavailable(f"the Python `{chosen}` cannot be run: {error.strerror}") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(), _PROBE_TIMEOUT)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise Unavailable("Blender does not load within two minutes") from None
    if process.returncode != 0:
        last = err.decode(errors="replace").strip().splitlines()[-1:] or [""]
        raise Unavailable(f"Blender cannot be loaded ({last[0][:200]}); {hint}")
    try:
        version, prefix, base = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        raise Unavailable(f"the Python `{chosen}` does not say which Blender it has") from None
    return Blender(chosen, version, tuple({Path(prefix), Path(base)}))


def _command(spec: JobSpec, argv: list[str], *, workdir: str | None = None) -> JobSpec:
    """The job that renders, as the `local` provider takes it."""
    return JobSpec(
        name=spec.name,
        command=tuple(argv) or ("blender",),
        workdir=workdir,
        resources=spec.resources,
        duration=spec.duration,
        placement=spec.placement,
    )


def _copy_scripts(folder: Path, painter: Path | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in _SCRIPTS:
        ours = files("providers.render.blender").joinpath(name)
        source = painter if painter is not None and name == "paint.py" else ours
        with source.open("rb") as file, (folder / name).open("wb") as out:
            shutil.copyfileobj(file, out)


def _read_plan(path: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return plan
