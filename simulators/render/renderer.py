"""The farm behind the simulated gateway: its jobs are truly rendered, by the local driver."""

import asyncio
import hashlib
import json
import os
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.rendering.frames import FrameState, FrameStatus, parse_frames
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from providers.errors import ProviderError, Unavailable
from providers.render import RenderConfig
from providers.render.local import LocalRender
from simulators.kit.clock import Clock
from simulators.render.settings import RenderSettings

_MICRO = Decimal("0.000001")
_STAND_IN = Path(__file__).parent / "standin.py"


class Submission(BaseModel):
    """The body of a submission."""

    model_config = ConfigDict(extra="forbid")

    client_ref: str = Field(min_length=1, max_length=200)
    scene: dict[str, Any]
    frames: str
    render: dict[str, Any] = Field(default_factory=dict)
    output: dict[str, Any] = Field(default_factory=dict)
    chunk: int = 1
    retries: int = 2
    tier: str = "economy"
    min_vram_gb: int | None = None
    max_gpus: int | None = None
    approval: Literal["auto", "manual"] = "auto"
    max_spend: dict[str, str] | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    def spec(self) -> JobSpec:
        """As the local driver takes it."""
        size = {name: self.render[name] for name in ("width", "height") if name in self.render}
        section = {
            "scene": self.scene.get("uri"),
            "sha256": self.scene.get("sha256"),
            "engine": self.scene.get("engine"),
            "frames": self.frames,
            "chunk": self.chunk,
            "samples": self.render.get("samples"),
            "resolution": size or None,
            "format": self.output.get("format", "PNG"),
            "previews": self.output.get("previews", True),
            "retries": self.retries,
        }
        return JobSpec.model_validate({"render": section, "duration": "1d"})


class FarmJob(BaseModel):
    """One job on the gateway's books."""

    id: str
    key: str
    digest: str
    order: Submission
    created_at: datetime
    updated_at: datetime
    state: str = "uploading"
    error: str | None = None
    decided: dict[int, Literal["approved", "rejected"]] = Field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.state in ("completed", "cancelled", "failed")


class Farm:
    """Renders what is on its books; `funds` off pauses what has not begun."""

    def __init__(
        self, folder: Path, clock: Clock, settings: RenderSettings, stand_in: bool
    ) -> None:
        self.folder, self.clock, self.settings = folder, clock, settings
        self.jobs: dict[str, FarmJob] = {}
        self.funds = True
        config = RenderConfig(
            driver="local",
            state_dir=folder / "leases",
            isolation="none",
            private_scene_urls=True,
            max_jobs=1000,
        )
        self.local = LocalRender("farm", config, painter=_STAND_IN if stand_in else None)
        self._file = folder / "jobs.json"

    async def start(self) -> None:
        """Look at what is on the books."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            stored = json.loads(self._file.read_bytes())
            self.jobs = {job["id"]: FarmJob.model_validate(job) for job in stored}
        await self.local.initialize()

    def save(self) -> None:
        """Write the books down."""
        partial = self._file.with_suffix(".new")
        partial.write_text(json.dumps([job.model_dump(mode="json") for job in self.jobs.values()]))
        os.replace(partial, self._file)

    def accept(self, submission: Submission, idempotency: str) -> tuple[FarmJob, bool] | None:
        """The job and whether it is new; None if the key was used for another body."""
        digest = hashlib.sha256(submission.model_dump_json().encode()).hexdigest()
        job_id = "rj-" + hashlib.sha256(idempotency.encode()).hexdigest()[:24]
        known = self.jobs.get(job_id)
        if known is not None:
            return (known, False) if known.digest == digest else None
        now = self.clock.now()
        job = FarmJob(
            id=job_id,
            key=lease_key(new_id("job"), 1),
            digest=digest,
            order=submission,
            created_at=now,
            updated_at=now,
        )
        self.jobs[job_id] = job
        self.save()
        return job, True

    async def step(self, job: FarmJob) -> None:
        """Bring a job forward; called again and again."""
        if job.over:
            return
        if job.state in ("uploading", "paused_funds"):
            await self._begin(job)
        else:
            await self._look(job)

    async def snapshot(self, job: FarmJob) -> LeaseSnapshot | None:
        """What the local driver sees of it; None before it has begun."""
        if await self.local.find(job.key) is None:
            return None
        return await self.local.status(LeaseRef(key=job.key, network_id=job.key))

    async def frames(self, job: FarmJob) -> list[dict[str, Any]]:
        """The frames as the contract shows them."""
        seen = await self.snapshot(job)
        known = {frame.frame: frame for frame in seen.frames} if seen else {}
        return [self._frame(job, n, known.get(n)) for n in parse_frames(job.order.frames)]

    async def cost(self, job: FarmJob) -> Decimal:
        """The sum of the frames that are approved."""
        frames = await self.frames(job)
        amounts = [Decimal(frame["cost"]["amount"]) for frame in frames if frame["cost"]]
        return sum(amounts, Decimal(0))

    async def cancel(self, job: FarmJob) -> None:
        """Ask for its end."""
        if not job.over:
            self._move(job, "cancelling")

    def file(self, job: FarmJob, path: str) -> Path:
        """Where a result file lies."""
        return self.folder / "leases" / job.key / "work" / path

    async def end_all(self) -> None:
        """Stop and remove all that is rendered."""
        for job in self.jobs.values():
            await self.local.forget(LeaseRef(key=job.key, network_id=job.key))

    def _move(self, job: FarmJob, state: str, error: str | None = None) -> None:
        if job.state != state:
            job.state, job.error, job.updated_at = state, error, self.clock.now()
            self.save()

    async def _begin(self, job: FarmJob) -> None:
        if not self.funds:
            self._move(job, "paused_funds")
            return
        try:
            await self.local.submit(job.order.spec(), job.key)
        except Unavailable:
            return
        except ProviderError as error:
            self._move(job, "failed", str(error))
            return
        if not job.over and job.state != "cancelling":
            self._move(job, "queued")

    async def _look(self, job: FarmJob) -> None:
        ref = LeaseRef(key=job.key, network_id=job.key)
        if job.state == "cancelling":
            await self.local.cancel(ref)
            self._move(job, "cancelled")
            return
        seen = await self.snapshot(job)
        if job.over or job.state == "cancelling":
            return  # asked for while it was looked at: the next step ends it
        if seen is None or seen.state is RunState.STARTING:
            return
        if not seen.state.final:
            self._move(job, "rendering")
        elif seen.state is RunState.LOST or seen.exit_code:
            self._move(job, "failed", seen.message or "the farm lost it")
        elif self._undecided(job, seen):
            self._move(job, "awaiting_approval")
        else:
            self._move(job, "completed")

    def _undecided(self, job: FarmJob, seen: LeaseSnapshot) -> bool:
        wanted = job.order.approval == "manual"
        return wanted and any(frame.frame not in job.decided for frame in seen.frames)

    def _frame(self, job: FarmJob, number: int, seen: FrameStatus | None) -> dict[str, Any]:
        state = self._frame_state(job, number, seen)
        there = seen is not None and seen.output is not None and state != "failed"
        base = f"/v1/render-jobs/{job.id}/files"
        preview = f"previews/frame_{number:06d}.png" if job.order.output.get("previews") else None
        paid = state == "approved" and seen is not None and seen.seconds is not None
        cost = None
        if paid and seen is not None and seen.seconds is not None:
            amount = seen.seconds * self.settings.usd_per_second
            cost = {"amount": f"{amount.quantize(_MICRO, ROUND_HALF_UP):f}", "currency": "USD"}
        output = seen.output if seen is not None and there else None
        return {
            "frame": number,
            "state": state,
            "attempts": seen.attempts if seen else 0,
            "seconds": f"{seen.seconds:f}" if seen and seen.seconds else None,
            "cost": cost,
            "error": (seen.message or None) if seen else None,
            "output": output,
            "output_url": f"{base}/{output}" if output else None,
            "preview": preview if output else None,
            "preview_url": f"{base}/{preview}" if output and preview else None,
            "sha256": self._digest(job, output),
            "finished_at": seen.finished_at.isoformat() if seen and seen.finished_at else None,
        }

    def _frame_state(self, job: FarmJob, number: int, seen: FrameStatus | None) -> str:
        if seen is None or seen.state is FrameState.QUEUED:
            return "queued"
        if seen.state is not FrameState.DONE:
            return seen.state.value
        if job.order.approval == "auto":
            return "approved"
        return job.decided.get(number, "awaiting_approval")

    def _digest(self, job: FarmJob, output: str | None) -> str | None:
        if output is None:
            return None
        path = self.file(job, output)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


async def forever(farm: Farm, pause: float) -> None:
    """Bring all jobs forward until cancelled."""
    while True:
        for job in list(farm.jobs.values()):
            await farm.step(job)
        await asyncio.sleep(pause)
