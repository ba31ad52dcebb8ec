"""Render jobs over the API: accepted, refused, and their frames listed."""

from decimal import Decimal
from typing import Any

import httpx
import pytest

from cortex.db.engine import Database
from cortex.domain.money import Money
from cortex.domain.offers import Capabilities, PriceSheet
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.schemas.jobs import FramePage
from tests.api.support import JOBS, check_problem, submit
from tests.support.providers import known_provider

SCENE = {"scene": "/scenes/a.blend", "frames": "1-4,9"}


@pytest.fixture
async def renderer(client: httpx.AsyncClient, database: Database) -> None:
    async with database.transaction() as tx:
        await known_provider(
            tx,
            "farm",
            "render",
            capabilities=Capabilities(images=False, processes=False, render=True),
            prices=PriceSheet(cpu_hour=Decimal("0.1")),
        )


async def submit_render(client: httpx.AsyncClient, **values: Any) -> str:
    answer = await client.post(JOBS, json={"render": {**SCENE, **values}})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def page(client: httpx.AsyncClient, job_id: str, **params: Any) -> FramePage:
    answer = await client.get(f"{JOBS}/{job_id}/frames", params=params)
    assert answer.status_code == 200, answer.text
    return FramePage.model_validate_json(answer.content)


@pytest.mark.usefixtures("renderer")
class TestFrames:
    async def test_before_anything_is_known_all_are_queued(self, client: httpx.AsyncClient) -> None:
        listed = await page(client, await submit_render(client))
        assert [frame.frame for frame in listed.items] == [1, 2, 3, 4, 9]
        assert listed.total == listed.counts[FrameState.QUEUED] == 5
        assert listed.cost == ()

    async def test_shows_state_cost_and_file(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit_render(client)
        price = Money(amount=Decimal("0.25"), currency="USD")
        done = FrameStatus(
            frame=3, state=FrameState.DONE, attempts=2, cost=price, output="frames/frame_000003.png"
        )
        failed = FrameStatus(frame=9, state=FrameState.FAILED, attempts=3, cost=price)
        async with database.transaction() as tx:
            await tx.frames.record(job_id, f"{job_id}-1", [done, failed])
        listed = await page(client, job_id, state="done")
        assert [(frame.frame, frame.attempts) for frame in listed.items] == [(3, 2)]
        assert listed.items[0].output == "frames/frame_000003.png"
        assert listed.counts[FrameState.FAILED] == 1
        assert listed.cost == (Money(amount=Decimal("0.5"), currency="USD"),)

    async def test_pages(self, client: httpx.AsyncClient) -> None:
        job_id = await submit_render(client)
        first = await page(client, job_id, limit=3)
        rest = await page(client, job_id, limit=3, cursor=first.next_cursor)
        assert [frame.frame for frame in (*first.items, *rest.items)] == [1, 2, 3, 4, 9]
        assert rest.next_cursor is None

    async def test_bad_cursor(self, client: httpx.AsyncClient) -> None:
        job_id = await submit_render(client)
        answer = await client.get(f"{JOBS}/{job_id}/frames", params={"cursor": "x"})
        check_problem(answer, 422, "invalid_request")

    async def test_other_jobs_have_none(self, client: httpx.AsyncClient) -> None:
        job_id = await submit(client)
        problem = check_problem(await client.get(f"{JOBS}/{job_id}/frames"), 404, "not_found")
        assert "renders nothing" in problem.detail

    async def test_wrong_field(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(JOBS, json={"render": {**SCENE, "frames": "4-1"}})
        problem = check_problem(answer, 422, "invalid_request")
        assert problem.errors[0].field == "render.frames"


async def test_nobody_renders(client: httpx.AsyncClient) -> None:
    answer = await client.post(JOBS, json={"render": SCENE})
    problem = check_problem(answer, 422, "no_provider")
    assert {error.message for error in problem.errors} == {"`render`: it renders no scenes"}
