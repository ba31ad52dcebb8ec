"""`cortex templates` and `cortex submit --template` against a real API."""

import json
from pathlib import Path

import pytest

from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import serve
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]

EXAMPLE = str(Path(__file__).parents[3] / "examples/templates/greet.yaml")


def job_in(output: str) -> str:
    """The id in the output; lines of the API's log may stand around it."""
    return next(word for word in output.split() if word.startswith("job_"))


async def test_a_template_from_its_begin_to_its_end(
    settings: Settings, providers: None, tmp_path: Path
) -> None:
    async with serve(settings) as (url, _):
        assert "there is no template" in (await call(url, "templates", "list")).output
        shown = await call(url, "templates", "create", EXAMPLE)
        assert "template `greet@1` in project `local`" in shown.output
        shown = await call(url, "templates", "create", EXAMPLE, "--name", "other")
        assert shown.exit_code == 0
        changed = tmp_path / "changed.yaml"
        changed.write_text("description: better\n")
        shown = await call(url, "templates", "update", "greet", str(changed))
        assert "`greet@2`" in shown.output
        shown = await call(url, "templates", "show", "greet@1")
        assert "greet@1" in shown.output
        assert "min 1, max 100" in shown.output
        assert "(left out)" in shown.output
        assert "better" in (await call(url, "templates", "versions", "greet")).output
        listed = (await call(url, "--json", "templates", "list")).output.splitlines()
        assert {(each["name"], each["version"]) for each in map(json.loads, listed)} == {
            ("greet", 2),
            ("other", 1),
        }
        shown = await call(url, "templates", "preview", "greet", "-p", "who=Ann")
        assert json.loads(shown.output)["env"] == {"WHO": "Ann", "TIMES": "3"}

        options = ("-p", "who=Ann", "-p", "times=2", "--set", "resources.cpu=2")
        shown = await call(url, "submit", "--template", "greet@1", *options, "--dry-run")
        assert json.loads(shown.output)["resources"]["cpu"] == "2"
        shown = await call(url, "submit", "--template", "greet@1", *options)
        job_id = job_in(shown.output)
        assert "greet@1" in (await call(url, "job", job_id)).output

        shown = await call(url, "templates", "delete", "greet", "other")
        assert shown.output.count("was taken away") == 2
        assert (await call(url, "templates", "show", "greet")).exit_code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["submit"], "either files, or a template"),
        (["submit", "--template", "x", "a.yaml"], "either files, or a template"),
        (["submit", "a.yaml", "-p", "a=b"], "are for --template"),
        (["submit", "--template", "x@0"], "`x@0` is no template"),
        (["submit", "--template", "x", "-p", "s3cr3t"], "write `NAME=VALUE`"),
        (["submit", "--template", "x", "-p", "=x"], "--param must be `NAME=VALUE`"),
        (["submit", "--template", "x", "-p", "a=1", "-p", "a=2"], "--param `a` is given twice"),
        (["submit", "--template", "x", "--set", "nope"], "write it as `field=value`"),
        (["templates", "show", "x@1@2"], "is no template"),
    ],
)
async def test_what_is_refused_here(words: list[str], told: str) -> None:
    shown = await call("http://127.0.0.1:1", *words)
    assert (shown.exit_code, told in shown.output) == (2, True), shown.output


async def test_an_error_names_the_line(settings: Settings, providers: None, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("name: t\njob:\n  command: [echo, '${{ nope }}']\n")
    async with serve(settings) as (url, _):
        shown = await call(url, "templates", "create", str(file))
        assert shown.exit_code == 2
        assert "t.yaml:3:" in shown.output
        assert "refers to `nope`" in shown.output
