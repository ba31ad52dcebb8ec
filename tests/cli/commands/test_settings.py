"""`cortex settings`, against a real API; Temporal is away."""

import json

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import serve
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


async def test_set_looked_at_and_taken_back(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        shown = await call(url, "settings", "list")
        assert "jobs.accept" in shown.output
        assert "nothing is set" in (await call(url, "settings", "list", "--changed")).output

        shown = await call(
            url, "settings", "set", "jobs.accept=false", "logs.retention=7d", "-m", "moving house"
        )
        assert "version 1" in shown.output
        assert "runtime (else true)" in shown.output
        listed = await call(url, "--json", "settings", "list", "--changed")
        # The server is in this process, and its log of the change in this output.
        items = [json.loads(line) for line in listed.output.splitlines() if line[0] == "{"]
        values = {each["name"]: each["value"] for each in items}
        assert values == {"jobs.accept": False, "logs.retention": "7d"}

        shown = await call(url, "settings", "unset", "logs.retention", "--if-version", "0")
        assert shown.exit_code != 0
        assert "was changed meanwhile" in shown.output
        shown = await call(url, "settings", "unset", "logs.retention", "--if-version", "1")
        assert "logs.retention" not in shown.output
        shown = await call(url, "settings", "history")
        assert "moving house" in shown.output
        assert "jobs.accept=false, logs.retention=7d" in " ".join(shown.output.split())
        shown = await call(url, "settings", "rollback", "0")
        assert "nothing is set" in shown.output

        shown = await call(url, "settings", "set", "jobs.accept")
        assert (shown.exit_code, "is not NAME=VALUE" in shown.output) == (2, True)
        shown = await call(url, "settings", "set", "database.url=x")
        assert "needs a restart" in shown.output
