"""`trace`, `stuck` and `resolve` against a real API; Temporal is away."""

import asyncio
import json

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from cli.main import app
from cortex.settings import ApiKey, Settings
from tests.api.conftest import client, providers, settings
from tests.api.support import KEY, serve, spec

__all__ = ["client", "providers", "settings"]
VIEWER = "a-key-that-only-looks"


async def call(url: str, *args: str, key: str = KEY, stdin: str | None = None) -> Result:
    """Run the command, beside the server's event loop."""
    words = ["--url", url, "--api-key", key, *args]
    return await asyncio.to_thread(CliRunner().invoke, app, words, input=stdin)


@pytest.fixture
def with_viewer(settings: Settings) -> Settings:
    keys = {"vera": ApiKey.model_validate({"key": SecretStr(VIEWER), "role": "viewer"})}
    return settings.model_copy(update={"api": settings.api.model_copy(update={"keys": keys})})


async def test_a_job_is_traced_and_only_an_admin_decides(
    with_viewer: Settings, providers: None
) -> None:
    async with serve(with_viewer) as (url, _):
        async with httpx.AsyncClient(base_url=url, headers={"x-api-key": KEY}) as http:
            job_id = (await http.post("/api/v1/jobs", json=spec())).json()["id"]
        shown = await call(url, "trace", job_id, "--full", key=VIEWER)
        assert shown.exit_code == 0, shown.output
        for words in ("accept", "waiting", "not delivered yet", "start of workflow `Job`"):
            assert words in shown.output
        short = await call(url, "job", job_id, "--trace", "--json", key=VIEWER)
        assert json.loads(short.stdout)["temporal"] == "away"
        nothing = await call(url, "stuck", key=VIEWER)
        assert "nothing is stuck" in nothing.output
        refused = await call(url, "resolve", job_id, "--retry", "--reason", "so", key=VIEWER)
        assert refused.exit_code == 6
        assert "`vera` (viewer) may not do `jobs.resolve`" in refused.output
        assert "--api-key" in refused.output
        both = await call(url, "resolve", job_id, "--retry", "--force-release", "--reason", "so")
        assert both.exit_code == 2
        away = await call(url, "resolve", job_id, "--retry", "--reason", "so")
        assert away.exit_code == 3
