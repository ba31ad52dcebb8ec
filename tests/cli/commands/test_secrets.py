"""`cortex secrets` against a real API; Temporal is away."""

import httpx

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import KEY, serve, spec
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


async def test_status(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        shown = await call(url, "secrets", "status")
        assert "nothing is encrypted yet; `k1` will be the key" in shown.output
        async with httpx.AsyncClient(base_url=url, headers={"x-api-key": KEY}) as http:
            await http.post("/api/v1/jobs", json=spec(secret_env={"TOKEN": "t0p"}))
        shown = await call(url, "secrets", "status")
        assert shown.exit_code == 0
        assert "all of it is under the newest key, `k1`" in shown.output
        shown = await call(url, "secrets", "rotate")
        assert "they do it by themselves within an hour" in shown.output
    other = settings.model_copy(update={"encryption_keys": None})
    async with serve(other) as (url, _):
        shown = await call(url, "secrets", "status")
        assert shown.exit_code == 1
        assert "1 cannot be opened: put their key back" in shown.output
