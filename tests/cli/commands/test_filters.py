"""`cortex filters` and `cortex jobs --saved` against a real API."""

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import serve
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


async def test_a_filter_from_its_begin_to_its_end(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        assert "there is no filter" in (await call(url, "filters", "list")).output
        assert (await call(url, "filters", "save", "mine")).exit_code == 2
        options = ("--state", "failed", "--state", "running", "-l", "team=a", "--within", "7d")
        shown = await call(url, "filters", "save", "mine", *options)
        assert "state=failed,running label=team=a created_within=7d" in shown.output
        assert "mine" in (await call(url, "filters", "list")).output
        assert "no jobs match" in (await call(url, "jobs", "--saved", "mine")).output
        assert (await call(url, "jobs", "--saved", "other")).exit_code == 4
        assert "was taken away" in (await call(url, "filters", "delete", "mine")).output
