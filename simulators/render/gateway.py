"""The reference server of the render gateway's contract, over the farm of `renderer`."""

import hmac
import json
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from cortex.domain.leases import LeaseRef
from cortex.domain.rendering.frames import parse_frames
from simulators.render.renderer import Farm, FarmJob, Submission
from simulators.render.settings import TOKEN

if TYPE_CHECKING:
    from simulators.render.world import RenderWorld

Handler = Callable[[Request], Awaitable[Response]]
_FILE = re.compile(r"(?:frames|previews)/frame_\d{6,7}\.(?:png|jpg|exr)")
_PAGE = 100
_LINES = 500


class Refusal(Exception):
    """Answered as a problem (RFC 9457)."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(title)
        self.status, self.title, self.detail = status, title, detail or title


def router(world: "RenderWorld") -> APIRouter:
    """The routes."""
    api = APIRouter()
    calls = _Calls(world)
    base = "/v1/render-jobs"
    for method, path, handler in (
        ("POST", base, calls.submit),
        ("GET", base, calls.jobs),
        ("GET", f"{base}/{{job_id}}", calls.job),
        ("GET", f"{base}/{{job_id}}/frames", calls.frames),
        ("POST", f"{base}/{{job_id}}/frames:decide", calls.decide),
        ("POST", f"{base}/{{job_id}}/cancel", calls.cancel),
        ("GET", f"{base}/{{job_id}}/logs", calls.logs),
        ("GET", f"{base}/{{job_id}}/files/{{path:path}}", calls.file),
        ("POST", "/v1/estimates", calls.estimate),
        ("GET", "/v1/pricing", calls.pricing),
        ("GET", "/v1/status", calls.status),
    ):
        api.add_api_route(path, _guarded(handler), methods=[method])
    return api


class _Calls:
    def __init__(self, world: "RenderWorld") -> None:
        self._world = world
        self._farm: Farm = world.farm

    async def submit(self, request: Request) -> Response:
        idempotency = request.headers.get("idempotency-key", "")
        if not idempotency:
            raise Refusal(400, "Idempotency-Key is required")
        submission = _submission(await request.json())
        if not self._farm.funds:
            raise Refusal(402, "the account has no credit left")
        accepted = self._farm.accept(submission, idempotency)
        if accepted is None:
            raise Refusal(409, "this Idempotency-Key was used with another body")
        job, new = accepted
        return JSONResponse(await self._view(job), 201 if new else 200)

    async def jobs(self, request: Request) -> Response:
        query = request.query_params
        listed = [
            job
            for job in self._farm.jobs.values()
            if query.get("client_ref") in (None, job.order.client_ref)
            and query.get("state") in (None, job.state)
        ]
        start = _place(query.get("cursor"))
        views = [await self._view(job) for job in listed[start : start + _PAGE]]
        return JSONResponse({"items": views, "next_cursor": _next(start, len(listed))})

    async def job(self, request: Request) -> Response:
        return JSONResponse(await self._view(self._meant(request)))

    async def frames(self, request: Request) -> Response:
        numbered = await self._farm.frames(self._meant(request))
        start = _place(request.query_params.get("cursor"))
        page = numbered[start : start + _PAGE]
        return JSONResponse({"items": page, "next_cursor": _next(start, len(numbered))})

    async def decide(self, request: Request) -> Response:
        job, body = self._meant(request), await request.json()
        numbers = parse_frames(job.order.frames)
        for name, decision in (("approve", "approved"), ("reject", "rejected")):
            text = body.get(name) or ""
            chosen = numbers if text == "all" else parse_frames(text) if text else ()
            for number in chosen:
                if number in numbers:
                    job.decided.setdefault(
                        number, "approved" if decision == "approved" else "rejected"
                    )
        self._farm.save()
        return JSONResponse(await self._view(job))

    async def cancel(self, request: Request) -> Response:
        job = self._meant(request)
        await self._farm.cancel(job)
        return JSONResponse(await self._view(job), 202)

    async def logs(self, request: Request) -> Response:
        job, since = self._meant(request), request.query_params.get("cursor")
        over = job.over
        ref = LeaseRef(key=job.key, network_id=job.key)
        lines: list[dict[str, Any]] = []
        async for line in self._farm.local.logs(ref, since=since):
            if line.partial:
                continue
            lines.append({"cursor": line.cursor, "time": line.time.isoformat(), "text": line.text})
            if len(lines) == _LINES:
                break
        cursor = lines[-1]["cursor"] if lines else since
        complete = over and len(lines) < _LINES
        return JSONResponse({"lines": lines, "next_cursor": cursor, "complete": complete})

    async def file(self, request: Request) -> Response:
        job, path = self._meant(request), request.path_params["path"]
        place = self._farm.file(job, path)
        if not _FILE.fullmatch(path) or not place.is_file():
            raise Refusal(404, "there is no such file")
        return FileResponse(place)

    async def estimate(self, request: Request) -> Response:
        body = await request.json()
        each = Decimal(str(body.pop("obh_per_frame", "0.05")))
        try:
            count = len(parse_frames(str(body.get("frames", ""))))
        except ValueError as error:
            raise Refusal(422, "the frames are not valid", str(error)) from error
        obh = each * count
        settings = self._world.settings
        amount = obh / settings.obh_per_credit * settings.credit_usd
        answer = {
            "obh": f"{obh:f}",
            "amount": f"{amount:f}",
            "currency": "USD",
            "low": f"{amount / 2:f}",
            "high": f"{amount * 2:f}",
            "basis": f"{count} frames of {each:f} OBh",
        }
        return JSONResponse(answer)

    async def pricing(self, _request: Request) -> Response:
        settings = self._world.settings
        tier = {"name": "economy", "obh_per_credit": f"{settings.obh_per_credit:f}"}
        credit = {"amount": f"{settings.credit_usd:f}", "currency": "USD"}
        return JSONResponse({"tiers": [tier], "credit": credit})

    async def status(self, _request: Request) -> Response:
        waiting = sum(job.state in ("uploading", "queued") for job in self._farm.jobs.values())
        answer = {"status": "ok", "version": "1", "queue_depth": waiting, "nodes_online": 1}
        return JSONResponse(answer)

    async def _view(self, job: FarmJob) -> dict[str, Any]:
        frames = await self._farm.frames(job)
        names = ("queued", "rendering", "awaiting_approval", "approved", "rejected", "failed")
        counts = {name: sum(frame["state"] == name for frame in frames) for name in names}
        return {
            "id": job.id,
            "client_ref": job.order.client_ref,
            "state": job.state,
            "frames": {"total": len(frames), **counts},
            "cost": {"amount": f"{await self._farm.cost(job):f}", "currency": "USD"},
            "error": job.error,
            "created_at": job.created_at.isoformat(),
            "updated_at": job.updated_at.isoformat(),
        }

    def _meant(self, request: Request) -> FarmJob:
        job = self._farm.jobs.get(request.path_params["job_id"])
        if job is None:
            raise Refusal(404, "there is no such job")
        return job


def _guarded(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {TOKEN}".encode()):
                raise Refusal(401, "the token is not valid")
            return await handler(request)
        except Refusal as refusal:
            problem = {
                "type": "about:blank",
                "title": refusal.title,
                "status": refusal.status,
                "detail": refusal.detail,
            }
            return JSONResponse(problem, refusal.status, media_type="application/problem+json")

    return answer


def _submission(body: Any) -> Submission:
    try:
        submission = Submission.model_validate(body)
        submission.spec()
    except (ValidationError, json.JSONDecodeError) as error:
        detail = "the body is no JSON"
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise Refusal(422, "the job is not valid", detail) from error
    return submission


def _place(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal():
        raise Refusal(400, "cursor is none of ours")
    return int(cursor)


def _next(start: int, total: int) -> str | None:
    return str(start + _PAGE) if start + _PAGE < total else None
