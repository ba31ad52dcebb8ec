"""A plan reads a request as FastAPI does: the same values, the same errors."""

from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, Query
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import WebSocketRoute

from api.app import ROUTERS
from api.bodies import Body
from api.params import WHOLE, Cursor, Flag, IdempotencyKey, JobId, Labels, Moment
from api.problems import on_invalid_request, problem_response
from api.routing import Route, mount
from cortex.domain.errors import CortexError, Forbidden
from cortex.domain.states import JobState

JOB = "job_" + "7".rjust(26, "0")


class Wanted(BaseModel):
    count: int = 1


async def narrowed(
    state: Annotated[list[JobState] | None, Query()] = None,
    label: Labels = None,
    after: Moment | None = None,
) -> dict[str, Any]:
    return {"state": state, "label": label, "after": str(after)}


async def allowed(request: Request) -> None:
    if "forbidden" in request.headers:
        raise Forbidden("you may not", action="jobs.read")


async def read(
    job_id: JobId,
    owner: str,
    where: Annotated[dict[str, Any], Depends(narrowed)],
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 50,
    cursor: Cursor = None,
    all_: Annotated[Flag, Query(alias="all")] = False,
    key: Annotated[Sequence[str], Query(max_length=2)] = (),
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    return JSONResponse(
        [job_id, owner, where, limit, cursor, all_, list(key), if_none_match], status_code=200
    )


async def write(
    body: Annotated[Wanted, Depends(Body(Wanted, "the wish"))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    return JSONResponse([body.count, idempotency_key])


def app_of(kind: type[APIRoute]) -> FastAPI:
    router = APIRouter(route_class=kind)
    router.get("/jobs/{job_id}", dependencies=[Depends(allowed)])(read)
    router.post("/jobs", dependencies=[Depends(allowed)])(write)

    async def on_error(request: Request, error: Exception) -> Response:
        return problem_response(error, request.scope)

    app = FastAPI(
        exception_handlers={RequestValidationError: on_invalid_request, CortexError: on_error}
    )
    mount(app, [router])
    return app


async def answer(kind: type[APIRoute], request: httpx.Request) -> tuple[int, Any]:
    transport = httpx.ASGITransport(app_of(kind))
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.send(request)
        return response.status_code, response.json()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/jobs/{JOB}?owner=me", {}),
        (f"/jobs/{JOB}?owner=me&state=running&state=failed&label=a=b&label=c=d", {}),
        (f"/jobs/{JOB}?owner=&limit=7&all=true&key=1&key=2&after=2026-01-31", {}),
        (f"/jobs/{JOB}?owner=a&owner=b&limit=1&limit=2", {"If-None-Match": '"x"'}),
        (f"/jobs/{JOB}", {}),
        (f"/jobs/{JOB}?limit=0&state=gone&label=x&after=soon", {}),
        (f"/jobs/{JOB}?owner=me&limit=1.5&cursor=%21&all=yes&key=1&key=2&key=3", {}),
        ("/jobs/nothing?owner=me", {}),
        (f"/jobs/{JOB}?limit=0", {"forbidden": "1"}),
    ],
)
async def test_a_plan_reads_as_fastapi_does(path: str, headers: dict[str, str]) -> None:
    request = httpx.Request("GET", f"http://test{path}", headers=headers)

    planned, plain = await answer(Route, request), await answer(APIRoute, request)

    assert planned == plain


class TestBody:
    async def test_is_read(self) -> None:
        request = httpx.Request("POST", "http://test/jobs", json={"count": 3})

        assert await answer(Route, request) == (200, [3, None])

    async def test_comes_after_the_parameters(self) -> None:
        headers = {"Idempotency-Key": "k" * 1000}
        request = httpx.Request("POST", "http://test/jobs", content=b"{", headers=headers)

        status, problem = await answer(Route, request)

        assert status == 422
        assert [each["field"] for each in problem["errors"]] == ["Idempotency-Key"]

    async def test_comes_after_the_rights(self) -> None:
        request = httpx.Request(
            "POST", "http://test/jobs", content=b"{", headers={"forbidden": "1"}
        )

        assert (await answer(Route, request))[0] == 403

    def test_stands_in_the_document(self) -> None:
        operation = app_of(Route).openapi()["paths"]["/jobs"]["post"]

        assert operation["requestBody"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Input_Wanted"
        }
        assert {"400", "408", "413", "415"} <= operation["responses"].keys()


def test_every_route_has_a_plan() -> None:
    """One that has none is served by FastAPI alone, at twice the price."""
    every = [route for router in ROUTERS for route in router.routes]
    routes = [route for route in every if not isinstance(route, WebSocketRoute)]

    assert [route for route in routes if not isinstance(route, Route)] == []
    assert [route.path for route in routes if isinstance(route, Route) and not route.planned] == []
