"""`cortex notices` against a real API."""

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import serve
from tests.cli.commands.test_admin import call

__all__ = ["providers", "settings"]


async def test_what_one_is_told_is_shown_and_chosen(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        shown = (await call(url, "notices")).output
        assert "failed, stuck, over_budget, schedule_paused" in shown
        assert "this server sends no mail" in shown
        changed = await call(url, "notices", "set", "--own", "completed,failed", "--projects=none")
        assert (changed.exit_code, "completed, failed" in changed.output) == (0, True)
        # What is not given stays.
        assert "completed, failed" in (await call(url, "notices", "set", "--not-named")).output
        assert "you are told nothing" in (await call(url, "notices", "off")).output
        assert "you are told nothing" not in (await call(url, "notices", "on")).output
        wrong = await call(url, "notices", "set", "--own", "ended")
        assert (wrong.exit_code, "`ended` is none of" in wrong.output) == (2, True)
        assert (await call(url, "notices", "set")).exit_code == 2


async def test_a_chat_is_read_from_stdin(settings: Settings, providers: None) -> None:
    async with serve(settings) as (url, _):
        told = "discord://123456789012345678/" + "a" * 60 + "\n"
        shown = await call(url, "notices", "set", "--chat", stdin=told)
        assert (shown.exit_code, "Discord" in shown.output) == (0, True), shown.output
        assert "aaaa" not in shown.output
        refused = await call(url, "notices", "set", "--chat", stdin="jsons://10.0.0.1/x\n")
        assert "not public" in refused.output
        assert "Discord" not in (await call(url, "notices", "set", "--no-chat")).output
