"""Reconcile on demand: over the API, the client and the command, each with its rights."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from cortex.client import AsyncCortex, Cortex
from cortex.settings import ApiSettings
from providers.null import NullProvider
from tests.api.support import AUTH, KEY, check_problem, serve
from tests.integration.conftest import Stage, StageMaker
from tests.integration.reconciling import running, strange_key, tuned
from tests.integration.test_reconcile_networks import SPEC, inner
from worker import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]
URL = "/api/v1/reconcile"
REPO = Path(__file__).parents[2]


@dataclass
class Scene:
    """A worker and an API."""

    stage: Stage
    worker: Service
    url: str
    http: httpx.AsyncClient

    @property
    def net(self) -> NullProvider:
        provider = inner(self.worker, "null")
        assert isinstance(provider, NullProvider)
        return provider

    async def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        """The `cortex` command, as a process."""
        clean = {name: value for name, value in os.environ.items() if "CORTEX" not in name}
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "cli.main", "--url", self.url, "--api-key", KEY, *args],
            capture_output=True,
            text=True,
            cwd=REPO,
            env=clean,
            timeout=60,
            check=False,
        )


@pytest.fixture
async def scene(make_stage: StageMaker) -> AsyncIterator[Scene]:
    stage = tuned(await make_stage(null={"type": "null", "run_seconds": -1}))
    looker = {"ann": {"key": "ann-s-key-0123456789", "role": "viewer"}}
    api = ApiSettings.model_validate({"key": SecretStr(KEY), "keys": looker})
    stage.settings = stage.settings.model_copy(update={"api": api})
    async with (
        stage.worker() as worker,
        serve(stage.settings) as (url, _server),
        httpx.AsyncClient(base_url=url, headers=AUTH, timeout=30) as http,
    ):
        yield Scene(stage, worker, url, http)


async def test_lists_closes_and_remembers(scene: Scene) -> None:
    key = strange_key()
    await scene.net.submit(SPEC, key)
    job_id = await running(scene.stage)

    dry = await scene.command("reconcile", "--dry-run")
    assert dry.returncode == 1, dry.stderr
    assert key in dry.stdout
    assert "a dry run: nothing was written or closed" in dry.stderr
    assert len(await scene.net.owned()) == 2
    assert (await scene.http.get(f"{URL}/findings")).json()["items"] == []

    answer = await scene.http.post(URL, json={"provider": "null", "dry_run": True})
    assert answer.status_code == 200
    (scope,) = answer.json()["scopes"]
    assert (scope["provider_id"], scope["checked"]) == ("null", 2)
    assert scope["findings"][0]["id"] == ""

    done = await scene.command("--json", "reconcile", "--provider", "null")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["scopes"][0]["findings"][0]["done"].startswith("released at `null`")
    assert [ref.key for ref in await scene.net.owned()] == [f"{job_id}-1"]
    assert (await scene.http.get(f"{URL}/runs/{report['id']}")).json() == report

    async with AsyncCortex(scene.url, api_key=KEY) as cortex:
        assert not (await cortex.findings()).items
        (closed,) = (await cortex.findings(closed=True, kind="orphan")).items
        assert closed.data["closed"].startswith("released at `null`")
        clean = await cortex.reconcile()
    assert {scope.provider_id for scope in clean.scopes} == {"null", None}
    assert not any(scope.findings or scope.error for scope in clean.scopes)

    listed = await scene.command("reconcile", "--findings", "--all")
    assert listed.returncode == 0
    assert key in listed.stdout

    def blocking() -> bool:
        with Cortex(scene.url, api_key=KEY) as cortex:
            return cortex.reconcile("null").status == "done"

    assert await asyncio.to_thread(blocking)
    await scene.stage.client.get_workflow_handle(job_id).cancel()
    await scene.stage.ended(job_id)


async def test_refusals(scene: Scene) -> None:
    check_problem(await scene.http.post(URL, json={"provider": "nope"}), 404, "not_found")
    check_problem(await scene.http.post(URL, json={"dry": True}), 422, "invalid_request")
    check_problem(await scene.http.get(f"{URL}/runs/maintenance"), 404, "not_found")
    check_problem(await scene.http.get(f"{URL}/runs/reconcile-{'0' * 26}"), 404, "not_found")
    check_problem(await scene.http.get(f"{URL}/findings?cursor=x"), 422, "invalid_request")
    looker = {"authorization": "Bearer ann-s-key-0123456789"}
    check_problem(await scene.http.post(URL, headers=looker), 403, "forbidden")
    assert (await scene.http.get(f"{URL}/findings", headers=looker)).status_code == 200
    both = await scene.command("reconcile", "--dry-run", "--findings")
    assert both.returncode == 2
