"""A person with a browser: what Temporal's Web UI and the API's own pages show of a job.

Screenshots go to the folder `E2E_SCREENSHOTS`, if that is set.
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, FrameLocator, Page, async_playwright, expect

from cortex.domain.jobs import Reason
from cortex.domain.states import JobState, LeaseState
from tests.e2e.support import shell, started
from tests.support import patience
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_PATIENCE = 1000 * patience(8)  # milliseconds; the first page of a fresh browser is slow


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    if _CHROMIUM is None:
        if os.environ.get("CORTEX_REQUIRE_CHROMIUM") == "1":
            pytest.fail("there is no chromium, and CORTEX_REQUIRE_CHROMIUM asks for it")
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        # Root may not use Chromium's own sandbox; the pages are our own.
        started_ = await playwright.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started_
        await started_.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(_PATIENCE)
    context.set_default_navigation_timeout(_PATIENCE)
    expect.set_options(timeout=_PATIENCE)
    yield await context.new_page()
    await context.close()


async def keep(page: Page, name: str) -> None:
    """A screenshot for people."""
    if folder := os.environ.get("E2E_SCREENSHOTS"):
        await page.screenshot(path=Path(folder, f"{name}.png"))


def metadata(page: Page, number: int) -> FrameLocator:
    """The summary (0), the details (1) or the current details (2) of a workflow."""
    return page.locator("iframe").nth(number).content_frame


class TestTemporal:
    async def test_finished_job(self, stack: Stack, page: Page) -> None:
        job = await stack.client.run(shell("echo hello", name="seen-in-browser"))
        assert job.state is JobState.COMPLETED
        assert job.temporal_url is not None
        assert job.id in job.temporal_url
        await page.goto(job.temporal_url)
        await expect(page.get_by_text(job.id).first).to_be_visible()
        await expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
        fact = page.locator("div,li").filter(has_text="Workflow Type").last
        await expect(fact).to_contain_text("Job")
        for step in ("reserve and start at local", "release and book at local"):
            await expect(page.get_by_text(step).first).to_be_visible()
        await keep(page, "finished-job")
        await page.get_by_text("User Metadata").click()
        await expect(metadata(page, 0).get_by_text("seen-in-browser")).to_be_visible()
        await keep(page, "finished-job-summary")

    async def test_running_job_says_where_it_is(self, stack: Stack, page: Page) -> None:
        job = await stack.client.submit(shell("sleep 120", name="goes-on"))
        await started(stack, [job.id])
        url = (await stack.client.job(job.id)).temporal_url
        assert url is not None
        await page.goto(url)
        await expect(page.get_by_text("Running", exact=True).first).to_be_visible()
        await page.get_by_text("User Metadata").click()
        await expect(metadata(page, 2).get_by_text("running on local")).to_be_visible()
        await keep(page, "running-job")
        await stack.client.cancel(job.id)
        await stack.client.wait(job.id, timeout=patience(30))

    async def test_a_job_that_somebody_terminates_here_is_finished_properly(
        self, stack: Stack, page: Page
    ) -> None:
        job = await stack.client.submit(shell("sleep 600", name="ended-by-hand"))
        await started(stack, [job.id])
        url = (await stack.client.job(job.id)).temporal_url
        assert url is not None
        await page.goto(url)
        await page.get_by_role("button", name="More Actions").click()
        await page.get_by_role("menuitem", name="Terminate").click()
        await page.get_by_role("textbox", name="Enter a reason").fill("it was in my way")
        await keep(page, "terminate")
        await page.get_by_role("button", name="Terminate", exact=True).click()
        await expect(page.get_by_text("Terminated", exact=True).first).to_be_visible()
        ended = await stack.client.wait(job.id, timeout=patience(90))
        assert (ended.state, ended.reason) == (JobState.FAILED, Reason.WORKFLOW_GONE)
        assert "it was in my way" in ended.message
        assert [lease.state for lease in ended.leases] == [LeaseState.RELEASED]
        kinds = [entry.kind async for entry in stack.client.iter_ledger(job.id)]
        assert sorted(kinds) == ["charge", "hold", "release"]
        await page.goto(url.replace(job.id, f"rescue:{job.id}"))
        await expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
        await keep(page, "rescued")

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ('CortexStatus="completed"', "by-status"),
            ('WorkflowId="{id}"', "by-id"),
            ('CortexProvider="local" AND CortexLabels="team=blue"', "by-label"),
            ('CortexUser="{owner}"', "by-owner"),
        ],
    )
    async def test_search(self, stack: Stack, page: Page, query: str, name: str) -> None:
        job = await stack.client.run(shell("echo", labels={"team": "blue"}))
        text = query.format(id=job.id, owner=job.owner)
        place = f"{stack.config.temporal_ui_url}/namespaces/cortex/workflows?query={quote(text)}"
        await page.goto(place)
        row = page.get_by_role("row").filter(has_text=job.id)
        await expect(row).to_be_visible()
        await expect(row).to_contain_text("Completed")
        await keep(page, f"search-{name}")


class TestDocs:
    async def test_openapi_page(self, stack: Stack, page: Page) -> None:
        answer = await page.goto(f"{stack.config.api_url}/docs")
        assert answer is not None
        assert answer.status == 200
        await expect(page).to_have_title("Cortex API")
        await expect(page.get_by_role("heading", name="Cortex").first).to_be_visible()
        await expect(page.get_by_text("/api/v1/jobs/{job_id}/cancel").first).to_be_visible()
        await keep(page, "api-docs")
