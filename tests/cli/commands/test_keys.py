"""`cortex users` and `cortex keys` against a real API; Temporal is away."""

import json

import httpx

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import JOBS, KEY, serve, spec
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


async def test_a_user_a_key_and_its_end(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        assert "there is no user" in (await call(url, "users", "list")).output
        shown = await call(url, "users", "add", "ann", "--role", "viewer")
        assert "user `ann` was added as viewer" in shown.output
        shown = await call(url, "users", "list")
        assert shown.output.splitlines()[-1].split()[:4] == ["ann", "viewer", "person", "yes"]
        assert (await call(url, "users", "set", "ann")).exit_code == 2

        shown = await call(url, "keys", "create", "ci", "--user", "ann", "--scope", "jobs:fly")
        assert (shown.exit_code, "`jobs:fly` is no scope" in shown.output) == (2, True)
        shown = await call(
            url, "keys", "create", "ci", "--user", "ann", "--scope", "read", "--expires", "90d"
        )
        assert "it is shown only now" in shown.output
        key = shown.output.splitlines()[-1]
        assert (await call(url, "jobs", key=key)).exit_code == 0
        shown = await call(url, "users", "list", key=key)
        assert "may not do `users.read`" in shown.output
        shown = await call(url, "keys", "create", "more", key=key)
        assert "has not the scope `keys:change`" in shown.output

        (listed,) = json.loads((await call(url, "--json", "keys", "list")).output.join("[]"))
        assert (listed["user"], listed["scopes"]) == ("ann", ["read"])
        assert key[13:] not in str(listed)
        shown = await call(url, "keys", "revoke", listed["id"])
        assert f"key `{listed['id']}` was revoked" in shown.output
        assert "there is no such key" in (await call(url, "keys", "list")).output
        assert "revoked" in (await call(url, "keys", "list", "--all")).output
        shown = await call(url, "jobs", key=key)
        assert "was revoked at" in shown.output
        assert (await call(url, "users", "set", "ann", "--off", key=KEY)).exit_code == 0


async def test_a_key_with_a_budget(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        await call(url, "users", "add", "ann", "--role", "developer")
        made = ("keys", "create", "ci", "--user", "ann", "--budget")
        assert (await call(url, *made, "much")).exit_code == 2
        key = (await call(url, *made, "5USD")).output.splitlines()[-1]
        heading, row = (await call(url, "keys", "list")).output.splitlines()
        assert heading.split()[-2:] == ["SPENT", "LEFT"]
        assert row.endswith("5 USD of 5 USD")
        async with httpx.AsyncClient(base_url=url, headers={"x-api-key": key}) as http:
            answer = await http.post(JOBS, json=spec(resources={"cpu": 1}, duration="1h"))
            assert answer.status_code == 202, answer.text
        row = (await call(url, "keys", "list")).output.splitlines()[-1]
        assert "0.02 USD" in row
        assert row.endswith("4.98 USD of 5 USD")
