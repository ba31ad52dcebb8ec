"""`cortex projects`, `--project` and what follows from it, against a real API; Temporal is away."""

import json
from typing import Any

import pytest

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import serve
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]

JOB = '{"name": "n", "command": ["true"]}'


async def test_a_project_its_members_and_their_jobs(
    settings: Settings, providers: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("job") / "job.json"
    file.write_text(JOB)
    async with serve(settings) as (url, _):
        assert "there is no project" in (await call(url, "projects", "list")).output
        shown = await call(url, "projects", "create", "vision", "--description", "pictures")
        assert "project `vision` was made" in shown.output
        assert "nobody is in it" in (await call(url, "projects", "show", "vision")).output
        shown = await call(url, "projects", "member", "vision", "ann")
        assert (shown.exit_code, "no user `ann`" in shown.output) == (4, True)
        await call(url, "users", "add", "ann")
        shown = await call(url, "projects", "member", "vision", "ann", "--role", "operator")
        assert "`ann` is operator in `vision`" in shown.output
        shown = await call(url, "projects", "show", "vision")
        assert "`vision` (open): pictures" in shown.output
        assert shown.output.splitlines()[-1].split()[:2] == ["ann", "operator"]
        shown = await call(url, "projects", "list")
        assert shown.output.splitlines()[-1].split() == ["vision", "1", "open", "pictures"]
        assert (await call(url, "projects", "set", "vision")).exit_code == 2

        key = (await call(url, "keys", "create", "k", "--user", "ann")).output.splitlines()[-1]
        own = _first((await call(url, "--json", "submit", str(file), key=key)).output)
        shown = await call(url, "--project", "vision", "--json", "submit", str(file), key=key)
        there = _first(shown.output)
        shown = await call(url, "jobs", "--project", "vision", key=key)
        assert (there["id"] in shown.output, own["id"] in shown.output) == (True, False)
        assert own["id"] in (await call(url, "jobs", key=key)).output
        shown = await call(url, "--project", "sound", "submit", str(file), key=key)
        assert "there is no project `sound`" in shown.output

        shown = await call(url, "budget", "add", "b", "1 USD", "--project", "vision")
        assert "write `--of-project vision`" in shown.output
        assert (
            "there is no project `nowhere`"
            in (await call(url, "jobs", "--project", "nowhere")).output
        )
        shown = await call(url, "budget", "add", "b", "1 USD", "--of-project", "vision")
        assert "budget `b` was added" in shown.output
        assert "in vision" in (await call(url, "budget", "list", key=key)).output
        shown = await call(
            url, "budget", "add", "c", "1 USD", "--of-project", "vision", "--user", "ann"
        )
        assert "give one of" in shown.output

        shown = await call(url, "projects", "member", "vision", "ann", "--remove")
        assert "`ann` is not in `vision` any more" in shown.output
        shown = await call(url, "projects", "set", "vision", "--archive")
        assert "is archived" in shown.output


def _first(output: str) -> dict[str, Any]:
    """The JSON among what the server of this process logs."""
    line = next(line for line in output.splitlines() if line.startswith('{"id"'))
    answer: dict[str, Any] = json.loads(line)
    return answer
