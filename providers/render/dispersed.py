"""The driver `dispersed`: containers on the Render Network's compute subnet, run to their end.

The network knows no reservation and no idempotency key: `prepare` submits, after it has looked
for the lease's title, and `commit` only sees that it is there. Frames of a render job are
rendered in chunks, one job each.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from cortex.domain.conditions import Conditions
from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.providers.inspection import Trial
from cortex.domain.rendering.frames import FrameStatus
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
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
from providers.dropbox import NO_DROP_BOX
from providers.errors import (
    InvalidSpec,
    LeaseLost,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    Unavailable,
    Unsuitable,
)
from providers.http import Refused, invalid
from providers.render.api import DispersedApi
from providers.render.assigned import Assigned, Assignment, first_objection
from providers.render.bills import usage_of
from providers.render.conditions import conditions
from providers.render.config import DISPERSED_URL, RenderConfig
from providers.render.forgotten import Forgotten
from providers.render.jobs import (
    MIN_ASSIGN,
    NOTHING,
    Bodies,
    Mark,
    chunk_frames,
    duplicates,
    first_made,
    made_about,
    mark_of,
    rate_of,
    ref_of,
    uuids_of,
)
from providers.render.market import Market
from providers.render.observed import (
    Observed,
    render_snapshot,
    snapshot,
)
from providers.render.results import Results
from providers.render.signing import Keys
from providers.render.wire import LIVE, WireJob

_OUTPUT = re.compile(r"frames/frame_\d{6,7}\.(?:png|jpg|exr)")
_LISTED = timedelta(days=2)
_EVER = datetime(2025, 1, 1, tzinfo=UTC)
_SLACK = timedelta(minutes=10)
_CANCEL_PATIENCE = 60.0
_CANCEL_POLL = 0.2
_FOLLOW = 1.0
_MAX_OUTPUT = 10 * 2**30
_NO_RUNNER = (
    "its machines run an image's own entry point, and no image that runs our commands is "
    "configured: set `runner_image` or `images` of this provider, or name such an image"
)


class Dispersed(Provider[RenderConfig]):
    type_name: ClassVar[str] = "render"
    Config: ClassVar[type[ProviderConfig]] = RenderConfig

    def __init__(self, provider_id: str, config: RenderConfig) -> None:
        super().__init__(provider_id, config)
        secret = config.secret_key.get_secret_value() if config.secret_key else ""
        keys = Keys(config.public_key or "", secret.encode())
        self._api = DispersedApi(config.url or DISPERSED_URL, keys, timeout=config.timeout)
        self._market = Market(provider_id, self._api, config.region_codes)
        folder = config.state_dir or default_data_dir() / "providers" / provider_id
        self._forgotten = Forgotten(folder / "forgotten", _LISTED)
        self._gpus: tuple[str, ...] = ()
        self._conditions: dict[bool, Conditions] = {}

    async def initialize(self) -> None:
        await self._api.ping()
        self._gpus = await self._market.gpu_models()

    async def aclose(self) -> None:
        await self._api.aclose()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            images=True,
            processes=self.config.runner_image is not None,
            services=False,
            gpu_models=self._gpus,
            regions=self.config.region_codes,
            poll_interval=self.config.poll_interval,
            two_phase=False,
            render=self.config.blender_image is not None,
            render_engines=tuple(self.config.engines),
            conditions=self._conditions_now(),
        )

    def trial(self) -> Trial:
        """With an image that runs our commands: the network knows an image's entry point only."""
        runs = self.config.images or self.config.runner_image
        return Trial(
            image=None if self.config.runner_image else next(iter(self.config.images), None),
            no_image="" if runs else _NO_RUNNER,
            no_outputs="" if self.drop else NO_DROP_BOX,
        )

    async def pricing(self) -> PriceSheet:
        return await self._market.sheet()

    async def quote(self, spec: JobSpec) -> list[Offer]:
        if self.capabilities().objections(spec):
            return []
        chunks = len(chunk_frames(spec.render)) if spec.render else 1
        return await self._market.offers(spec, max(1, chunks))

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        if not is_lease_key(key):
            raise InvalidSpec(f"`{key[:80]}` is no lease key")
        problems = self.capabilities().objections(spec)
        if problems:
            raise Unsuitable(f"`{self.id}` cannot run this job: {'; '.join(problems)}")
        there = first_made(await self._listed(key), key)
        rated = offer or await self._any_offer(spec)
        bodies = Bodies(self.config, self.drop).of(spec, key, rated)
        missing = [body for mark, body in bodies if mark.chunk not in there]
        for number, body in enumerate(missing):
            if len(bodies) > 1:
                await report(f"submitting chunk {number + 1} of {len(missing)}")
            await self._create(body, first=not number)
        if not bodies:
            return Reservation(ref=ref_of(key, {}))
        try:
            jobs = await self._agree(key)
        except (Unavailable, RateLimited) as error:
            raise OutcomeUnknown(str(error)) from error
        waited = Assignment(self._api, max(self.config.assign_within, MIN_ASSIGN))
        assigned = await waited.agreed(list(jobs.values()), report)
        return Reservation(ref=ref_of(key, jobs), price_per_hour=_agreed_price(assigned))

    async def commit(self, reservation: Reservation) -> Committed:
        ref = reservation.ref
        if ref.network_id != NOTHING:
            by_uuid = await self._api.jobs(uuids_of(ref))
            gone = [uuid for uuid in uuids_of(ref) if uuid not in by_uuid]
            stopped = [job for job in by_uuid.values() if job.status in ("CANCELLED", "CANCELLING")]
            if gone or stopped:
                raise LeaseLost(f"lease `{ref.key}` was cancelled")
        return Committed(ref=ref)

    async def find(self, key: str) -> Found | None:
        if not is_lease_key(key):
            return None
        jobs = first_made(await self._listed(key), key)
        marks = [mark_of(job) for job in jobs.values()]
        whole = bool(marks) and all(mark is not None and mark.count == len(jobs) for mark in marks)
        if not whole:  # of some chunks it is not known that they are there: prepare adds them
            return None
        live = any(job.status not in ("CANCELLED", "CANCELLING") for job in jobs.values())
        # Whether its node may be kept is looked at by `prepare`, which may not have come so far.
        return Found(ref=ref_of(key, jobs), committed=live, reserved=False)

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        by_uuid = await self._api.jobs([uuid for ref in refs for uuid in uuids_of(ref)])
        seen: list[LeaseSnapshot] = []
        for ref in refs:
            jobs = [by_uuid[uuid] for uuid in uuids_of(ref) if uuid in by_uuid]
            if ref.network_id == NOTHING:
                seen.append(_nothing(ref))
            elif len(jobs) < len(uuids_of(ref)):
                message = "the network knows no such job"
                seen.append(LeaseSnapshot(key=ref.key, state=RunState.LOST, message=message))
            else:
                seen.append(await self._snapshot(ref, jobs))
        return seen

    async def cancel(self, ref: LeaseRef) -> None:
        """Also of what was submitted twice: nothing with this key lives afterwards."""
        jobs = await self._all_of(ref)
        live = [job for job in jobs if not job.over]
        for job in live:
            await self._api.cancel(job.uuid, "released by Cortex")
        await self._confirm_end([job.uuid for job in live])

    async def forget(self, ref: LeaseRef) -> None:
        """The network keeps its records for ever; that they are done with is remembered here."""
        try:
            await asyncio.to_thread(self._forgotten.add, ref.key)
        except OSError as error:
            raise Unavailable(f"the state folder cannot be used: {error.strerror}") from error
        if self.drop is not None:
            for name in await self._results.objects(ref):
                await self.drop.delete(ref.key, name)

    async def usage(self, ref: LeaseRef) -> Usage:
        if ref.network_id == NOTHING:
            return Usage(cost=Money.zero("USD"), final=True)
        jobs = await self._all_of(ref)
        if not jobs:
            raise LeaseLost(f"there is no lease `{ref.key}`")
        return await usage_of(self._api, jobs, now=datetime.now(UTC))

    def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        return self._results.lines(ref, since, follow=follow)

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        if ref.network_id == NOTHING:
            return []
        return await self._results.outputs(ref, paths, destination)

    async def owned(self) -> list[LeaseRef]:
        """Live jobs, whenever they were made; ended ones of the last two days."""
        edge = datetime.now(UTC) - _LISTED
        # Whatever their state: a list by state would miss what changes it between two pages.
        recent = await self._api.jobs_since(edge)
        older = await self._api.jobs_since(_EVER, until=edge, statuses=LIVE)
        forgotten = await asyncio.to_thread(self._forgotten.keys)
        by_key: dict[str, dict[str, WireJob]] = {}
        for job in [*older, *recent]:
            mark = mark_of(job)
            if mark is not None and (mark.key not in forgotten or not job.over):
                by_key.setdefault(mark.key, {})[job.uuid] = job
        return [ref_of(key, first_made(list(jobs.values()), key)) for key, jobs in by_key.items()]

    async def network_status(self) -> NetworkStatus:
        began = asyncio.get_running_loop().time()
        try:
            await self._api.ping()
            offers = await self._market.count()
        except (ProviderError, Refused) as error:
            return NetworkStatus(reachable=False, message=str(error))
        took = asyncio.get_running_loop().time() - began
        return NetworkStatus(
            reachable=True, latency=timedelta(seconds=took), capacity={"offers": str(offers)}
        )

    @property
    def _results(self) -> Results:
        return Results(self._api, self.drop)

    def _conditions_now(self) -> Conditions:
        with_drop = self.drop is not None
        if with_drop not in self._conditions:
            self._conditions[with_drop] = conditions(self.config, self.drop)
        return self._conditions[with_drop]

    async def _any_offer(self, spec: JobSpec) -> Offer | None:
        offers = await self._market.offers(spec, 1)
        return offers[0] if offers else None

    async def _create(self, body: dict[str, object], *, first: bool) -> None:
        try:
            await self._api.create(body)
        except Refused as error:
            raise invalid(error) from error
        except (Unavailable, RateLimited) as error:
            if first:
                raise
            raise OutcomeUnknown(f"some chunks are submitted, not all: {error}") from error

    async def _listed(self, key: str) -> list[WireJob]:
        return await self._api.jobs_since(made_about(key) - _SLACK)

    async def _agree(self, key: str) -> dict[int, WireJob]:
        """After submitting: of jobs with one title only the first may live."""
        listed = await self._listed(key)
        for job in duplicates(listed, key):
            if not job.over:
                await self._api.cancel(job.uuid, "submitted twice")
        first = first_made(listed, key)
        if not first:
            raise Unavailable("Dispersed does not list what it has just taken")
        return first

    async def _all_of(self, ref: LeaseRef) -> list[WireJob]:
        """The lease's jobs, those included that were submitted twice."""
        if ref.network_id == NOTHING or not is_lease_key(ref.key):
            return []
        by_uuid = {job.uuid: job for job in await self._results.jobs_of(ref)}
        for job in await self._listed(ref.key):
            mark = mark_of(job)
            if mark is not None and mark.key == ref.key:
                by_uuid[job.uuid] = job
        return list(by_uuid.values())

    async def _confirm_end(self, uuids: list[str]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _CANCEL_PATIENCE
        while uuids:
            by_uuid = await self._api.jobs(uuids)
            uuids = [uuid for uuid in uuids if uuid in by_uuid and not by_uuid[uuid].over]
            if not uuids:
                return
            if loop.time() > until:
                raise Unavailable("Dispersed has not confirmed the end of the job yet")
            await asyncio.sleep(_CANCEL_POLL)

    async def _snapshot(self, ref: LeaseRef, jobs: list[WireJob]) -> LeaseSnapshot:
        mark = mark_of(jobs[0]) or Mark(ref.key)
        if not mark.frames:
            # While it runs its log tells nothing that would be needed here.
            seen = await self._results.observe(ref.key, jobs[0], logs=jobs[0].over)
            return _too_dear(ref, [seen]) or snapshot(ref, seen, runner=not mark.own)
        parts: list[tuple[Observed, tuple[int, ...]]] = []
        for job in jobs:
            chunk = mark_of(job)
            parts.append((await self._results.observe(ref.key, job), chunk.frames if chunk else ()))
        told = render_snapshot(ref, parts, rate_of(jobs[0]))
        return _too_dear(ref, [seen for seen, _ in parts], told.frames) or told


def _agreed_price(assigned: Sequence[Assigned]) -> Money | None:
    """What its node costs; a render job's chunks get theirs one by one, at the quoted price."""
    rate = assigned[0].rate if len(assigned) == 1 else None
    return None if rate is None else Money(amount=rate, currency="USD")


def _too_dear(
    ref: LeaseRef, seen: Sequence[Observed], frames: tuple[FrameStatus, ...] = ()
) -> LeaseSnapshot | None:
    """The lease is given up where a node that took a job later than `prepare` saw is too dear."""
    why = first_objection([Assigned(each.job, each.run) for each in seen if not each.job.over])
    if not why:
        return None
    return LeaseSnapshot(key=ref.key, state=RunState.LOST, message=why, frames=frames)


def _nothing(ref: LeaseRef) -> LeaseSnapshot:
    now = made_about(ref.key)
    return LeaseSnapshot(
        key=ref.key,
        state=RunState.EXITED,
        exit_code=0,
        message="all frames are rendered already",
        started_at=now,
        finished_at=now,
    )
