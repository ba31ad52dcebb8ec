"""A route and a field that go away, made up for this."""

from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.deprecation import deprecated, going
from api.respond import answer
from api.routing import api_router, mount

SINCE, SUNSET = date(2026, 12, 1), date(2027, 9, 1)


class Wanted(BaseModel):
    size: int = 1
    old_size: int | None = Field(
        default=None, json_schema_extra=going(since=SINCE, sunset=SUNSET, instead="size")
    )


def made() -> FastAPI:
    router = api_router("made up")

    @router.get("/old", response_model=Wanted)
    @deprecated(since=SINCE, sunset=SUNSET, instead="/api/v1/new")
    async def old() -> Response:
        """The old way."""
        return answer({"size": 2})

    @router.post("/older", response_model=Wanted, status_code=201)
    @deprecated(since=SINCE, instead="/api/v1/new")
    async def older(wanted: Wanted) -> Wanted:
        """Served by FastAPI itself."""
        return wanted

    @router.get("/new", response_model=Wanted)
    async def new() -> Response:
        return answer({"size": 2})

    app = FastAPI()
    mount(app, [router])
    return app


async def ask(method: str, path: str, **body: int) -> httpx.Response:
    transport = httpx.ASGITransport(app=made())
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.request(method, f"/api/v1{path}", json=body or None)


async def test_its_answers_say_so() -> None:
    told = await ask("GET", "/old")
    assert (told.status_code, told.json()) == (200, {"size": 2})
    at = int(told.headers["deprecation"].removeprefix("@"))
    assert datetime.fromtimestamp(at, UTC) == datetime(2026, 12, 1, tzinfo=UTC)
    assert parsedate_to_datetime(told.headers["sunset"]) == datetime(2027, 9, 1, tzinfo=UTC)
    assert told.headers["sunset"].endswith(" GMT")
    assert '</api/v1/new>; rel="successor-version"' in told.headers["link"]
    assert '</docs>; rel="deprecation"' in told.headers["link"]


async def test_without_a_day_of_its_end() -> None:
    told = await ask("POST", "/older", old_size=3)
    assert (told.status_code, told.json()) == (201, {"size": 1, "old_size": 3})
    assert told.headers["deprecation"].startswith("@")
    assert "sunset" not in told.headers


async def test_no_other_does() -> None:
    assert not {"deprecation", "sunset", "link"} & set((await ask("GET", "/new")).headers)


def test_the_document_says_so() -> None:
    document = made().openapi()
    old, older, new = (
        document["paths"][f"/api/v1/{name}"][method]
        for name, method in (("old", "get"), ("older", "post"), ("new", "get"))
    )
    assert old["deprecated"] is older["deprecated"] is True
    assert "deprecated" not in new
    assert old["description"] == (
        "The old way.\n\nDeprecated since 2026-12-01, gone from 2027-09-01 on: use `/api/v1/new`."
    )
    assert set(old["responses"]["200"]["headers"]) == {"Deprecation", "Sunset", "Link"}
    assert set(older["responses"]["201"]["headers"]) == {"Deprecation", "Link"}
    field = document["components"]["schemas"]["Wanted"]["properties"]["old_size"]
    assert field["deprecated"] is True
    assert "use `size`" in field["description"]


def test_the_notice_is_half_a_year() -> None:
    with pytest.raises(ValueError, match="180 days at least"):
        deprecated(since=SINCE, sunset=date(2027, 2, 1), instead="/api/v1/new")
