"""Commands that change something do not undo what others changed meanwhile."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cortex.client import Cortex
from cortex.client.tags import Tags
from cortex.domain.rights import Role
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import KEY, serve
from tests.cli.commands.test_templates import EXAMPLE
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What others do after a command has read a thing, and before it changes it."""
    others: list[Callable[[], object]] = []
    headers = Tags.headers

    def first(self: Tags, call: Any) -> Mapping[str, str]:
        given = headers(self, call)
        while call.as_seen and others:
            others.pop()()
        return given

    monkeypatch.setattr(Tags, "headers", first)
    return others


async def test_who_was_slower_is_told(
    settings: Settings, providers: None, tmp_path: Path, meanwhile: list[Callable[[], object]]
) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text("description: better\n")
    schedule = ("--cron", "0 3 * * *", "--template", "greet", "-p", "who=Ann")
    async with serve(settings) as (url, _):
        await call(url, "users", "add", "ann")
        await call(url, "budget", "add", "month", "10 USD")
        assert (await call(url, "templates", "create", EXAMPLE)).exit_code == 0
        made = await call(url, "schedules", "create", "nightly", *schedule)
        assert made.exit_code == 0, made.output
        with Cortex(url, KEY) as other:
            budgets = await asyncio.to_thread(other.budgets)
            templates = await asyncio.to_thread(other.templates)
            ids = [budgets[0].id, templates.items[0].id]
            schedule_id = (await asyncio.to_thread(other.schedules)).items[0].id
            tries: list[tuple[tuple[str, ...], Callable[[], object]]] = [
                (
                    ("users", "set", "ann", "--off"),
                    lambda: other.update_user("ann", role=Role.VIEWER),
                ),
                (
                    ("budget", "set", "month", "--amount", "20 USD"),
                    lambda: other.update_budget(ids[0], amount="5 USD"),
                ),
                (
                    ("templates", "update", "greet", str(changed)),
                    lambda: other.update_template(ids[1], {"description": "other"}),
                ),
                (
                    ("schedules", "update", "nightly", "--cron", "0 4 * * *"),
                    lambda: other.update_schedule(schedule_id, {"cron": "0 5 * * *"}),
                ),
            ]
            for words, change in tries:
                meanwhile.append(change)
                refused = await call(url, *words)
                assert refused.exit_code == 5, (words, refused.output)
                assert "changed meanwhile" in refused.output
                done = await call(url, *words)
                assert done.exit_code == 0, (words, done.output)


async def test_a_template_that_one_has_read_before(
    settings: Settings, providers: None, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.yaml"
    async with serve(settings) as (url, _):
        await call(url, "templates", "create", EXAMPLE)
        update = ("templates", "update", "greet", str(changed), "--if-version", "1")
        changed.write_text("description: better\n")
        assert "`greet@2`" in (await call(url, *update)).output
        changed.write_text("description: best\n")
        refused = await call(url, *update)
        assert refused.exit_code == 5
        assert "at version 2 and not 1" in refused.output
        shown = await call(url, "--json", "templates", "show", "greet")
        assert json.loads(shown.stdout.splitlines()[-1])["description"] == "better"
