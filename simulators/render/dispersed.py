"""Dispersed's REST API, as far as it is documented; nothing is told that it would not tell."""

import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from simulators.render.auth import Refusal
from simulators.render.model import SimJob

if TYPE_CHECKING:
    from simulators.render.world import RenderWorld

Handler = Callable[[Request, Any], Awaitable[Any]]
_Amount = Annotated[float, Field(ge=0)]


class _Docker(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: str = Field(min_length=1)
    tag: str = Field(min_length=1)
    host: str | None = None
    user: str | None = None
    secret: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    ports: list[int] = Field(default_factory=list)
    allowed_ips: list[str] = Field(default_factory=list)
    sshkey: str | None = None
    volumes: list[dict[str, Any]] = Field(default_factory=list)


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["docker"]
    parameters: _Docker


class _NewJob(BaseModel):
    """The bounds that the documentation names."""

    model_config = ConfigDict(extra="forbid")

    task: Literal["BATCH", "PERSISTENT"]
    title: str = ""
    description: str = ""
    max_timeout_run_ms: int | None = Field(default=None, ge=60_000)
    max_timeout_assign_ms: int = Field(default=300_000, ge=300_000)
    max_timeout_start_ms: int = Field(default=300_000, ge=120_000)
    max_retry_count: int = Field(default=0, ge=0)
    max_node_count: int = Field(default=1, ge=1)
    cpu_count: _Amount = 0
    gpu_count: _Amount = 0
    min_ram_gb: _Amount = 0
    min_storage_gb: _Amount = 0
    min_vram_gb: _Amount = 0
    gpu_name: str | None = None
    gpu_registry_uuid: str | None = None
    allowed_region_codes: list[str] = Field(default_factory=list)
    parameters: _Parameters


def router(world: "RenderWorld") -> APIRouter:
    """The routes."""
    api = APIRouter()
    calls = _Calls(world)
    for method, path, handler in (
        ("POST", "/v1/jobs", calls.create),
        ("GET", "/v1/jobs", calls.jobs),
        ("GET", "/v1/jobs/{job_uuid}", calls.job),
        ("PUT", "/v1/jobs/{job_uuid}/cancel", calls.cancel),
        ("GET", "/v1/job-runs", calls.runs),
        ("GET", "/v1/job-runs/{run_uuid}", calls.run),
        ("GET", "/v1/compute/offers", calls.offers),
        ("GET", "/v1/compute/ledger/transactions", calls.ledger),
    ):
        api.add_api_route(path, _guarded(world, handler), methods=[method])
    return api


class _Calls:
    """What each call does; a handler gets the request and its JSON body."""

    def __init__(self, world: "RenderWorld") -> None:
        self._world = world

    async def create(self, _request: Request, body: Any) -> Any:
        try:
            submission = _NewJob.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Refusal(422, "validation_error", f"{where}: {first['msg']}") from error
        if submission.task == "BATCH" and submission.max_timeout_run_ms is None:
            raise Refusal(422, "validation_error", "max_timeout_run_ms is required for BATCH")
        if submission.gpu_name and submission.gpu_registry_uuid:
            raise Refusal(422, "validation_error", "gpu_name and gpu_registry_uuid are exclusive")
        if not self._world.book.funds:
            raise Refusal(402, "insufficient_credits", "the account has no credits left")
        now = self._world.moment()
        job = SimJob(
            uuid=str(uuid.uuid4()),
            run_uuid=str(uuid.uuid4()),
            body=submission.model_dump(mode="json"),
            created_at=now,
            updated_at=now,
        )
        self._world.book.jobs[job.uuid] = job
        self._world.save()
        return self._shown(job)

    async def jobs(self, request: Request, _body: Any) -> Any:
        query = request.query_params
        matching = list(self._world.book.jobs.values())
        if uuids := query.get("filter[uuid]"):
            matching = [job for job in matching if job.uuid in uuids.split(",")]
        if states := query.get("filter[status]"):
            matching = [job for job in matching if job.status in states.split(",")]
        if task := query.get("filter[task]"):
            matching = [job for job in matching if job.body["task"] == task]
        if span := query.get("filter[created_at]"):
            first, _, last = span.partition(",")
            begin, end = _moment(first), _moment(last)
            matching = [job for job in matching if begin <= job.created_at <= end]
        sort = query.get("sort", "-created_at")
        if sort not in ("created_at", "-created_at"):
            raise Refusal(400, "invalid_sort", "sort by created_at or -created_at")
        matching.sort(key=lambda job: job.created_at, reverse=sort.startswith("-"))
        return _page(request, [self._shown(job) for job in matching])

    async def job(self, request: Request, _body: Any) -> Any:
        return self._shown(self._job(request.path_params["job_uuid"]))

    async def cancel(self, request: Request, body: Any) -> Any:
        if not isinstance(body, dict) or not body.get("reason"):
            raise Refusal(422, "validation_error", "reason is required")
        job = self._job(request.path_params["job_uuid"])
        if job.over:
            raise Refusal(409, "job_not_cancellable", f"the job is {job.status}")
        await self._world.cancel(job)
        return self._shown(job)

    async def runs(self, request: Request, _body: Any) -> Any:
        wanted = request.query_params.get("filter[job_uuid]")
        matching = [
            self._shown_run(job)
            for job in self._world.book.jobs.values()
            if job.assigned and wanted in (None, job.uuid)
        ]
        return _page(request, matching)

    async def run(self, request: Request, _body: Any) -> Any:
        wanted = request.path_params["run_uuid"]
        for job in self._world.book.jobs.values():
            if job.run_uuid == wanted and job.assigned:
                logs = await self._world.machines.logs(wanted) if job.started_at else ""
                return {**self._shown_run(job), "logs": logs}
        raise Refusal(404, "not_found", "there is no such run")

    async def offers(self, request: Request, _body: Any) -> Any:
        query = request.query_params
        regions = query.get("filter[allowed_region_codes]", "")
        need = {
            "gpu_name": query.get("filter[gpu_name]"),
            "min_vram_gb": query.get("filter[min_vram_gb]"),
            "allowed_region_codes": regions.split(",") if regions else [],
        }
        now = self._world.clock.now().isoformat()
        return {
            "data": [
                {
                    "offer_id": offer.offer_id,
                    "availability": "available",
                    "region_code": offer.region_code,
                    "hardware_summary": {"gpu_name": offer.gpu_name, "gpu_count": 1},
                    "pricing": {"hourly_rate_usd": f"{offer.hourly:f}", "quoted_at": now},
                }
                for offer in self._world.fitting(need)
            ]
        }

    async def ledger(self, request: Request, _body: Any) -> Any:
        wanted = request.query_params.get("filter[job_uuid]")
        lines = [
            {
                "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, job.uuid)),
                "job_uuid": job.uuid,
                "amount_usd": f"{job.charge:f}",
                "created_at": job.updated_at.isoformat(),
            }
            for job in self._world.book.jobs.values()
            if self._world.charged(job) and wanted in (None, job.uuid)
        ]
        return _page(request, lines)

    def _shown(self, job: SimJob) -> dict[str, Any]:
        return job.view(priced=self._world.settings.price_told == "job")

    def _shown_run(self, job: SimJob) -> dict[str, Any]:
        return job.run_view(priced=self._world.settings.price_told == "run")

    def _job(self, wanted: str) -> SimJob:
        job = self._world.book.jobs.get(wanted)
        if job is None:
            raise Refusal(404, "not_found", "there is no such job")
        return job


def _guarded(world: "RenderWorld", handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        headers = {"date": format_datetime(world.clock.now(), usegmt=True)}
        raw = await request.body()
        try:
            world.gatekeeper.check(request, raw)
            content = await handler(request, json.loads(raw) if raw else None)
        except Refusal as refusal:
            error = {"error": {"code": refusal.code, "message": refusal.message}}
            return JSONResponse(error, refusal.status, headers)
        return JSONResponse(content, 200, headers)

    return answer


def _page(request: Request, items: list[dict[str, Any]]) -> dict[str, Any]:
    query = request.query_params
    try:
        page, limit = int(query.get("page", "1")), int(query.get("limit", "20"))
    except ValueError:
        raise Refusal(400, "invalid_page", "page and limit are numbers") from None
    if page < 1 or not 1 <= limit <= 50:
        raise Refusal(400, "invalid_page", "page begins with 1, limit is 1 to 50")
    start = (page - 1) * limit
    return {
        "data": items[start : start + limit],
        "page": page,
        "limit": limit,
        "total": len(items),
    }


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "invalid_filter", "filter[created_at] is from,to") from None
