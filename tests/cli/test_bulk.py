"""`cortex cancel --where …` against a real API; Temporal is away."""

import asyncio
import json

import httpx
import pytest
from typer.testing import CliRunner

from cli.bulk import parse_where
from cli.errors import BadInput
from cli.main import app
from cortex.client import JobFilter
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.support import AUTH, JOBS, KEY, serve, submit
from tests.cli.commands.test_trace import call

__all__ = ["providers", "settings"]


async def test_from_a_look_to_the_end(settings: Settings, providers: None) -> None:
    async with (
        serve(settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers=AUTH, trust_env=False) as client,
    ):
        blue = [await submit(client, labels={"team": "blue"}) for _ in range(2)]
        red = await submit(client, name="red")
        where = ("cancel", "--where", "label=team=blue")

        shown = await call(url, *where, "--dry-run")
        assert (shown.exit_code, shown.output.strip()) == (0, "2 jobs match, 2 would be cancelled")
        shown = await call(url, *where)
        assert shown.exit_code == 2
        assert "2 jobs would be cancelled, and nobody can be asked; give --yes" in shown.output
        assert await states(client) == dict.fromkeys([*blue, red], "pending")

        shown = await call(url, *where, "--yes", "--reason", "wrong data")
        assert (shown.exit_code, shown.output.strip()) == (0, "2 jobs match, 2 are asked to end")
        assert await states(client) == dict.fromkeys(blue, "cancelling") | {red: "pending"}
        shown = await call(url, *where, "--yes")
        assert shown.output.splitlines() == [
            "2 jobs match, 0 are asked to end",
            "  2 are being cancelled",
        ]

        told = json.loads((await call(url, "--json", "cancel", "--all", "--dry-run")).output)
        assert (told["matched"], told["cancelled"], told["dry_run"]) == (3, 1, True)
        assert (await call(url, "cancel", "--all", "--yes")).exit_code == 0
        assert set((await states(client)).values()) == {"cancelling"}


@pytest.mark.parametrize(("said", "state"), [("n", "pending"), ("y", "cancelling")])
async def test_the_question_says_how_many(
    settings: Settings,
    providers: None,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    state: str,
) -> None:
    monkeypatch.setattr("cli.bulk.interactive", lambda: True)  # as before a terminal
    async with (
        serve(settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers=AUTH, trust_env=False) as client,
    ):
        job_id = await submit(client)
        words = ["--url", url, "--api-key", KEY, "cancel", "--where", "name=hello"]
        shown = await asyncio.to_thread(CliRunner().invoke, app, words, input=f"{said}\n")
        assert "Cancel 1 job?" in shown.output
        assert shown.exit_code == (0 if said == "y" else 1)
        assert await states(client) == {job_id: state}


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("job_1", "--where", "name=a"),
        ("--all", "--where", "name=a"),
        ("job_1", "--dry-run"),
        ("--where", "colour=red"),
        ("--where", "name"),
        ("--where", "name="),
        ("--where", "name=a", "--where", "name=b"),
        ("--where", "state=flying"),
        ("--where", "since=soon"),
    ],
)
async def test_what_is_not_clear_is_refused(args: tuple[str, ...]) -> None:
    shown = await call("http://127.0.0.1:1", "cancel", *args)
    assert shown.exit_code == 2, shown.output


def test_every_key() -> None:
    which = parse_where(
        ["state=RUNNING", "name=a", "owner=b", "provider=c", "group=d", "label=e=f", "label=g=h"],
        "vision",
    )
    assert which == JobFilter(
        state="running",
        project="vision",
        name="a",
        owner="b",
        provider="c",
        group="d",
        labels={"e": "f", "g": "h"},
    )
    with pytest.raises(BadInput, match="KEY one of state, provider"):
        parse_where(["label"], None)


async def states(client: httpx.AsyncClient) -> dict[str, str]:
    return {job["id"]: job["state"] for job in (await client.get(JOBS)).json()["items"]}
