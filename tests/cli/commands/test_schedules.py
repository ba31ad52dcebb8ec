"""`cortex schedules` against a real API."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import serve
from tests.cli.commands.test_templates import EXAMPLE, job_in
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


async def test_a_schedule_from_its_begin_to_its_end(
    settings: Settings, providers: None, tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("name: plain\ncommand: [echo, hello]\n")
    async with serve(settings) as (url, _):
        assert "there is no schedule" in (await call(url, "schedules", "list")).output
        await call(url, "templates", "create", EXAMPLE)
        options = ("--cron", "0 6 * * 1-5", "--timezone", "Europe/Berlin", "--overlap", "skip")
        template = ("--template", "greet@1", "-p", "who=Ann", "--set", "resources.cpu=2")
        shown = await call(url, "schedules", "create", "daily", *options, *template)
        assert "schedule `daily` in project `local`; next: " in shown.output
        shown = await call(url, "schedules", "show", "daily")
        assert "0 6 * * 1-5 (Europe/Berlin)" in shown.output
        assert "template greet@1" in shown.output
        shown = await call(url, "schedules", "pause", "daily", "--note", "holidays")
        assert "it is paused" in shown.output
        assert "holidays" in (await call(url, "schedules", "show", "daily")).output
        job_id = job_in((await call(url, "schedules", "trigger", "daily")).output)
        assert job_id in (await call(url, "schedules", "runs", "daily")).output
        shown = await call(url, "schedules", "update", "daily", "--job", str(job))
        assert shown.exit_code == 0, shown.output
        listed = json.loads((await call(url, "--json", "schedules", "list")).output)
        assert (listed["job"]["name"], listed["template"]) == ("plain", None)
        assert "next" in (await call(url, "schedules", "resume", "daily")).output
        end = datetime.now(UTC) - timedelta(days=1)
        span = ("--start", (end - timedelta(days=7)).isoformat(), "--end", end.isoformat())
        shown = await call(url, "schedules", "backfill", "daily", *span)
        assert "5 times are made up for" in shown.output
        shown = await call(url, "schedules", "delete", "daily")
        assert "was taken away" in shown.output
        assert (await call(url, "schedules", "show", "daily")).exit_code == 2

        file = tmp_path / "s.yaml"
        file.write_text("name: s\ncron: 61 * * * *\njob: {command: [x]}\n")
        shown = await call(url, "schedules", "create", "--file", str(file))
        assert (shown.exit_code, "s.yaml:2:" in shown.output) == (2, True), shown.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create", "x"], "give a name and --cron"),
        (["create", "x", "--cron", "* * * * *", "--job", "a", "-p", "b=c"], "takes the place"),
        (["update", "x"], "say what to change"),
        (["backfill", "x", "--start", "then", "--end", "now"], "is no time"),
    ],
)
async def test_what_is_refused_here(words: list[str], told: str) -> None:
    shown = await call("http://127.0.0.1:1", "schedules", *words)
    assert (shown.exit_code, told in shown.output) == (2, True), shown.output
