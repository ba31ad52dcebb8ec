"""The driver `gateway`: a render API with a contract of its own (docs/providers/render.md).

The gateway knows an idempotency key, finds jobs by `client_ref`, and tells of every frame. What it
asks approval for is approved at once: a job of Cortex has nobody to look at previews.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import httpx

from cortex.domain.conditions import Conditions, SceneLimits
from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, Offer, PriceSheet, Usage
from cortex.domain.rendering import Render
from cortex.domain.rendering.frames import FrameState
from cortex.domain.spec import JobSpec
from cortex.domain.states import RunState
from cortex.faultpoints import http_hooks
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
from providers.http import HttpClient, Refused, invalid
from providers.render._journal import failure_of
from providers.render.config import RenderConfig
from providers.render.forgotten import Forgotten
from providers.render.gateway_wire import GatewayFrame, GatewayJob, GatewayLogs, parsed

NOTHING = "nothing"
_FILE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9]+")
_HOUR = timedelta(hours=1)
_LISTED = timedelta(days=2)
_CANCEL_PATIENCE = 60.0
_POLL = 0.2
_FOLLOW = 1.0


class Gateway(Provider[RenderConfig]):
    type_name: ClassVar[str] = "render"
    Config: ClassVar[type[ProviderConfig]] = RenderConfig

    def __init__(self, provider_id: str, config: RenderConfig) -> None:
        super().__init__(provider_id, config)
        token = config.token.get_secret_value() if config.token else ""
        self._http = HttpClient(
            config.url or "",
            who="the render gateway",
            headers={"authorization": f"Bearer {token}"},
            timeout=config.timeout,
        )
        folder = config.state_dir or default_data_dir() / "providers" / provider_id
        self._forgotten = Forgotten(folder / "forgotten", _LISTED)

    async def initialize(self) -> None:
        await self._read("/v1/status")

    async def aclose(self) -> None:
        await self._http.aclose()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            images=False,
            processes=False,
            services=False,
            render=True,
            render_engines=tuple(self.config.engines),
            poll_interval=self.config.poll_interval,
            two_phase=False,
            conditions=Conditions(scenes=SceneLimits(schemes=("http", "https", "s3"))),
        )

    async def pricing(self) -> PriceSheet:
        """A sheet has prices per hour; a gateway bills frames. Its estimates are in the offers."""
        prices = await self._read("/v1/pricing")
        credit = Money.model_validate(prices["credit"])
        return PriceSheet(currency=credit.currency, as_of=datetime.now(UTC))

    async def quote(self, spec: JobSpec) -> list[Offer]:
        render = spec.render
        if render is None or self.capabilities().objections(spec) or not render.numbers():
            return []
        body = {**self._work(spec, render), "obh_per_frame": f"{self.config.obh_per_frame:f}"}
        try:
            estimate = await self._http.send("POST", "/v1/estimates", json=body)
        except Refused as error:
            raise invalid(error) from error
        most = Money(amount=Decimal(estimate["high"]), currency=estimate["currency"])
        hours = Decimal(spec.duration / _HOUR)
        return [
            Offer(
                provider_id=self.id,
                # What is held for the job's whole duration is the high end of the estimate.
                price_per_hour=(most * (1 / hours)).rounded(),
                hardware=f"tier {self.config.tier}, estimated: {estimate['basis']}",
                data={"tier": self.config.tier},
            )
        ]

    async def prepare(
        self, spec: JobSpec, key: str, *, offer: Offer | None = None, report: Report = no_report
    ) -> Reservation:
        render = spec.render
        if not is_lease_key(key):
            raise InvalidSpec(f"`{key[:80]}` is no lease key")
        if render is None:
            raise Unsuitable(f"`{self.id}` cannot run this job: it renders scenes only")
        problems = self.capabilities().objections(spec)
        if problems:
            raise Unsuitable(f"`{self.id}` cannot run this job: {'; '.join(problems)}")
        if not render.numbers():
            return Reservation(ref=LeaseRef(key=key, network_id=NOTHING))
        body = {
            "client_ref": key,
            **self._work(spec, render),
            "output": {"format": render.format, "previews": render.previews},
            "retries": render.retries,
            "approval": "auto",
            "max_spend": _money(offer, spec),
            "labels": {"cortex.job": key},
        }
        headers = {"idempotency-key": key}
        try:
            answer = await self._http.send("POST", "/v1/render-jobs", json=body, headers=headers)
        except Refused as error:
            raise invalid(error) from error
        return Reservation(ref=_ref(key, parsed(GatewayJob, answer, effect=True)))

    async def commit(self, reservation: Reservation) -> Committed:
        ref = reservation.ref
        job = await self._job(ref)
        if ref.network_id != NOTHING and (job is None or job.state in ("cancelling", "cancelled")):
            raise LeaseLost(f"lease `{ref.key}` was cancelled")
        return Committed(ref=ref)

    async def find(self, key: str) -> Found | None:
        jobs = await self._listed({"client_ref": key})
        live = [job for job in jobs if job.client_ref == key]
        if not live:
            return None
        return Found(ref=_ref(key, live[0]), committed=live[0].state != "cancelled")

    async def statuses(self, refs: Sequence[LeaseRef]) -> list[LeaseSnapshot]:
        return [await self._snapshot(ref) for ref in refs]

    async def tend(self, refs: Sequence[LeaseRef]) -> None:
        """Approve what waits for approval, where a gateway asks although told not to."""
        for ref in refs:
            job = await self._job(ref)
            if job is not None and job.state == "awaiting_approval":
                body = {"approve": "all", "reject": ""}
                path = f"/v1/render-jobs/{job.id}/frames:decide"
                await self._effect("POST", path, body)

    async def cancel(self, ref: LeaseRef) -> None:
        job = await self._job(ref)
        if job is None or job.over:
            return
        await self._effect("POST", f"/v1/render-jobs/{job.id}/cancel", {})
        until = asyncio.get_running_loop().time() + _CANCEL_PATIENCE
        while (job := await self._job(ref)) is not None and not job.over:
            if asyncio.get_running_loop().time() > until:
                raise Unavailable("the render gateway has not confirmed the end of the job yet")
            await asyncio.sleep(_POLL)

    async def forget(self, ref: LeaseRef) -> None:
        """The gateway keeps its records; that they are done with is remembered here."""
        try:
            await asyncio.to_thread(self._forgotten.add, ref.key)
        except OSError as error:
            raise Unavailable(f"the state folder cannot be used: {error.strerror}") from error

    async def usage(self, ref: LeaseRef) -> Usage:
        if ref.network_id == NOTHING:
            return Usage(cost=Money.zero("USD"), final=True)
        job = await self._job(ref)
        if job is None:
            raise LeaseLost(f"there is no lease `{ref.key}`")
        return Usage(cost=job.cost, final=job.over, detail={"source": "the gateway's own bill"})

    async def logs(
        self, ref: LeaseRef, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        while ref.network_id != NOTHING:
            params = {"cursor": since} if since else {}
            try:
                answer = await self._read(f"/v1/render-jobs/{ref.network_id}/logs", params)
            except Refused:
                return
            page = parsed(GatewayLogs, answer)
            for line in page.lines:
                since = line.cursor
                yield LogLine(time=line.time, text=line.text, cursor=line.cursor)
            if not page.lines and (page.complete or not follow):
                return
            if not page.lines:
                await asyncio.sleep(_FOLLOW)

    async def outputs(self, ref: LeaseRef, paths: Sequence[str], destination: Path) -> list[Path]:
        written: list[Path] = []
        for frame in await self._frames(ref):
            for path, link in frame.files():
                top, _, name = path.partition("/")
                inside = top in paths and _FILE.fullmatch(name)
                if inside and await self._download(link, destination / path):
                    written.append(Path(path))
        return sorted(written)

    async def owned(self) -> list[LeaseRef]:
        """Live jobs; those that ended in the last two days until they are forgotten."""
        forgotten = await asyncio.to_thread(self._forgotten.keys)
        recent = datetime.now(UTC) - _LISTED
        return [
            _ref(job.client_ref, job)
            for job in await self._listed({})
            if is_lease_key(job.client_ref)
            and (not job.over or (job.updated_at > recent and job.client_ref not in forgotten))
        ]

    async def network_status(self) -> NetworkStatus:
        began = asyncio.get_running_loop().time()
        try:
            status = await self._read("/v1/status")
        except (ProviderError, Refused) as error:
            return NetworkStatus(reachable=False, message=str(error))
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
        told = {name: str(status.get(name, "?")) for name in ("queue_depth", "nodes_online")}
        version = str(status.get("version", ""))
        return NetworkStatus(reachable=True, latency=took, version=version, capacity=told)

    def _work(self, spec: JobSpec, render: Render) -> dict[str, Any]:
        size = render.resolution
        scene: dict[str, Any] = {"uri": render.scene, "format": "blend"}
        if render.sha256:
            scene["sha256"] = render.sha256
        if render.engine:
            scene["engine"] = render.engine
        settings: dict[str, Any] = {"samples": render.samples} if render.samples else {}
        if size:
            settings |= {"width": size.width, "height": size.height}
        return {
            "scene": scene,
            "frames": render.frames,
            "render": settings,
            "tier": self.config.tier,
            "chunk": render.chunk,
        }

    async def _snapshot(self, ref: LeaseRef) -> LeaseSnapshot:
        if ref.network_id == NOTHING:
            text = "all frames are rendered already"
            return LeaseSnapshot(key=ref.key, state=RunState.EXITED, exit_code=0, message=text)
        job = await self._job(ref)
        if job is None:
            text = "the gateway knows no such job"
            return LeaseSnapshot(key=ref.key, state=RunState.LOST, message=text)
        frames = tuple(frame.status(over=job.over) for frame in await self._frames(ref))
        done = sum(frame.state is FrameState.DONE for frame in frames)
        state, code, message = job.run_state()
        share = (Decimal(done) / len(frames)).quantize(Decimal("0.00001")) if frames else None
        return LeaseSnapshot(
            key=ref.key,
            state=state,
            exit_code=code,
            message=failure_of(frames) or message if code else message,
            progress=share,
            started_at=None if state is RunState.STARTING else job.created_at,
            finished_at=job.updated_at if state.final else None,
            frames=frames,
        )

    async def _job(self, ref: LeaseRef) -> GatewayJob | None:
        if ref.network_id == NOTHING:
            return None
        try:
            answer = await self._http.get(f"/v1/render-jobs/{ref.network_id}")
        except Refused as error:
            if error.status == 404:
                return None
            raise Unavailable(str(error)) from error
        return parsed(GatewayJob, answer)

    async def _frames(self, ref: LeaseRef) -> list[GatewayFrame]:
        if ref.network_id == NOTHING:
            return []
        return await self._pages(GatewayFrame, f"/v1/render-jobs/{ref.network_id}/frames", {})

    async def _listed(self, params: dict[str, str]) -> list[GatewayJob]:
        return await self._pages(GatewayJob, "/v1/render-jobs", params)

    async def _pages(self, model: type[Any], path: str, params: dict[str, str]) -> list[Any]:
        models: list[Any] = []
        cursor: str | None = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = await self._read(path, {**params, **more})
            try:
                items, cursor = answer["items"], answer.get("next_cursor")
            except (KeyError, TypeError, AttributeError):
                raise Unavailable("the answer of the render gateway is no list") from None
            models += [parsed(model, entry) for entry in items]
            if not cursor:
                return models

    async def _read(self, path: str, params: dict[str, str] | None = None) -> Any:
        try:
            return await self._http.get(path, params=params or {})
        except Refused as error:
            if error.status == 404:
                raise
            raise Unavailable(str(error)) from error

    async def _effect(self, method: str, path: str, body: dict[str, Any]) -> None:
        try:
            await self._http.send(method, path, json=body)
        except Refused as error:
            if error.status not in (404, 409):
                raise Unavailable(str(error)) from error

    async def _download(self, link: str, target: Path) -> bool:
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        # Of another place, such as a presigned link to a store, our token is none of the business.
        own = link.startswith("/") or link.startswith(f"{self.config.url}/")
        try:
            async with (
                httpx.AsyncClient(timeout=60, event_hooks=http_hooks("frame store")) as stranger,
                (self._http.raw if own else stranger).stream("GET", link) as response,
            ):
                if response.status_code == 404:
                    return False
                if not response.is_success:
                    raise Unavailable(f"a frame cannot be fetched ({response.status_code})")
                with target.open("wb") as out:
                    async for block in response.aiter_bytes(2**20):
                        await asyncio.to_thread(out.write, block)
        except httpx.HTTPError as error:
            raise Unavailable(f"a frame cannot be fetched ({type(error).__name__})") from error
        return True


def _ref(key: str, job: GatewayJob) -> LeaseRef:
    return LeaseRef(key=key, network_id=job.id)


def _money(offer: Offer | None, spec: JobSpec) -> dict[str, str] | None:
    """The most that the gateway may spend: the budget, else the high end of its own estimate."""
    most = spec.budget or (offer.estimate(spec.duration) if offer else None)
    return {"amount": f"{most.amount:f}", "currency": most.currency} if most else None
