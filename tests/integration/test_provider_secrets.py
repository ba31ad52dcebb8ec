"""Where secrets of providers must not be: histories, database, events, answers, logs, terminals."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client
from typer.testing import CliRunner, Result

from cli.main import app
from cortex.db.engine import Database
from tests.api.support import KEY, serve
from tests.e2e.support import Command, Terminal
from tests.integration.conftest import Stage
from tests.integration.managed import (
    URL,
    add,
    api,
    becomes,
    shared_api,
    shared_stage,
    view,
)
from tests.support.fickle import FickleProvider, fickle, fickle_installed

__all__ = ["api", "fickle", "fickle_installed", "shared_api", "shared_stage"]
pytestmark = pytest.mark.integration
_FROM_ENV = ("--secret-from-env", "api_key=FICKLE_KEY")


class Cli:
    """The command, pointed at a real server; run in this process, or on a terminal."""

    def __init__(self, url: str, folder: Path) -> None:
        self.environment = {"CORTEX_URL": url, "CORTEX_API_KEY": KEY}
        self._folder = folder

    async def __call__(self, *args: str, code: int = 0) -> Result:
        runner = CliRunner()
        done = await asyncio.to_thread(runner.invoke, app, list(args), env=self.environment)
        assert done.exit_code == code, (done.stdout, done.stderr)
        return done

    def on_terminal(self, *args: str) -> AbstractAsyncContextManager[Terminal]:
        command = Command(self._folder)
        command.environment |= self.environment
        return command.on_terminal(*args)


@pytest.fixture
async def cortex(shared_stage: Stage, api: httpx.AsyncClient, tmp_path: Path) -> AsyncIterator[Cli]:
    async with serve(shared_stage.settings) as (url, _):
        yield Cli(url, tmp_path)


def last(done: Result) -> dict[str, Any]:
    """The JSON that was printed; the worker of this process logs to the same place."""
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


async def histories(client: Client) -> str:
    """Every byte of every history in the namespace, as Temporal keeps it."""
    texts: list[str] = []
    async for run in client.list_workflows(""):
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        async for event in handle.fetch_history_events():
            raw = event.SerializeToString()
            texts.append(raw.decode("utf-8", errors="replace"))
    return "\n".join(texts)


async def everything(database: Database) -> str:
    """Every value of every table."""
    texts: list[str] = []
    async with database.transaction() as tx:
        tables = (
            await tx.connection.exec_driver_sql(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            )
        ).scalars()
        for table in list(tables):
            rows = await tx.connection.exec_driver_sql(f"SELECT t::text FROM {table} AS t")
            texts.extend(rows.scalars())  # `bytea` in hex
    return "\n".join(texts)


class TestNowhere:
    async def test_a_secret_is_in_nothing_but_its_cipher(
        self,
        shared_stage: Stage,
        api: httpx.AsyncClient,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        secrets = ["Geheim-eins-8151", "Geheim-zwei-8152", "wrong-drei-8153", "vier8"]
        registry = {"server": "r.test", "password": secrets[1]}
        await add(api, api_key=secrets[0], registries=[registry])
        seen = await becomes(api, "online")
        answers = [seen.model_dump_json()]
        for path, body in (
            ("f1/test", {"config": {"api_key": secrets[2]}}),
            ("f9/test", {"type": "fickle", "config": {"api_key": secrets[3][:5]}}),
        ):
            answers.append((await api.post(f"{URL}/{path}", json=body)).text)
        bad = {"api_key": secrets[3], "registries": f"me:{secrets[1]}@r.test"}
        answers.append(
            (await api.post(URL, json={"id": "f2", "type": "fickle", "config": bad})).text
        )
        wrong = {"config": {"api_key": secrets[2]}}
        answers.append((await api.patch(f"{URL}/f1", json=wrong)).text)
        await becomes(api, "offline")
        answers.append((await view(api)).model_dump_json())
        assert "not known" in answers[-1]  # the network's words, without the key they repeated
        written = await everything(shared_stage.database)
        kept = await histories(shared_stage.client)
        assert "registries" in written
        assert "check_draft" in kept
        logged = "".join(capfd.readouterr())
        for secret in secrets:
            for place, text in (
                ("the database", written),
                ("Temporal", kept),
                ("the log", logged),
                ("an answer", "\n".join(answers)),
            ):
                assert secret not in text, f"`{secret}` stands in {place}"
                assert secret.encode().hex() not in text, f"`{secret}` stands in {place} as hex"


class TestCommand:
    async def test_asks_for_secrets_without_showing_them(
        self, cortex: Cli, fickle: type[FickleProvider]
    ) -> None:
        secret = "typed-by-hand-42"
        args = ("provider", "add", "fickle", "--id", "f1", "--set", "region=us")
        async with cortex.on_terminal(*args, "--set", "account=typed") as terminal:
            await terminal.shows("Any will do but a wrong one.\r\napi_key: ")  # echo is off now
            terminal.press(f"{secret}\n")
            await terminal.shows("provider `f1` was added")
            assert await terminal.ends() == 0
        assert secret not in terminal.text
        assert "the network answers in 5 ms, balance 7.5 USD" in terminal.text
        assert set(fickle.switches["typed"].keys) == {secret}
        shown = await cortex("provider", "show", "f1")
        assert "api_key (set)" in shown.stdout
        assert secret not in shown.stdout

    async def test_takes_them_from_files_and_variables(
        self, cortex: Cli, fickle: type[FickleProvider], tmp_path: Path
    ) -> None:
        (tmp_path / "key").write_text("from-a-file\n")
        cortex.environment["FICKLE_KEY"] = "from-a-variable"
        file = f"api_key={tmp_path / 'key'}"
        await cortex("provider", "add", "fickle", "--id", "f1", "--secret-from-file", file)
        switch = fickle.switches["main"]
        assert switch.keys[-1] == "from-a-file"
        await cortex("provider", "update", "f1", "--secret-from-env", "api_key=FICKLE_KEY")
        assert switch.keys[-1] == "from-a-variable"

    async def test_refuses_what_would_be_seen_or_cannot_be_asked(self, cortex: Cli) -> None:
        seen = await cortex("provider", "add", "fickle", "--set", "api_key=visible", code=2)
        assert "--secret-from-env" in seen.stderr
        nobody = await cortex("provider", "add", "fickle", code=2)
        assert "`api_key` is a secret that is needed" in nobody.stderr
        unset = await cortex("provider", "add", "fickle", *_FROM_ENV, code=2)
        assert "`FICKLE_KEY` is not set" in unset.stderr
        kind = await cortex("provider", "add", "akasha", code=2)
        assert "there is no provider type `akasha`" in kind.stderr
        missing = await cortex("provider", "show", "nowhere", code=4)
        assert "there is no provider `nowhere`" in missing.stderr
        fixed = await cortex("provider", "remove", "null", code=5)
        assert "comes from the settings" in fixed.stderr

    async def test_a_wrong_key_adds_nothing(self, cortex: Cli) -> None:
        cortex.environment["FICKLE_KEY"] = "wrong-key-77"
        args = ("provider", "add", "fickle", "--id", "f1", *_FROM_ENV)
        failed = await cortex(*args, code=1)
        assert "the network refuses the credentials" in failed.stderr
        assert "--no-test" in failed.stderr
        assert "wrong-key-77" not in failed.stderr
        await cortex("provider", "show", "f1", code=4)
        await cortex(*args, "--no-test", "--rate-limit", "5", "--disabled")
        shown = last(await cortex("provider", "show", "f1", "--json"))
        assert (shown["rate_limit"], shown["enabled"]) == (5, False)
        tested = await cortex("provider", "test", "f1", code=1)
        assert "cannot be used" in tested.stderr

    async def test_the_rest_of_a_providers_life(self, cortex: Cli, api: httpx.AsyncClient) -> None:
        cortex.environment["FICKLE_KEY"] = "some-good-key"
        args = ("provider", "add", "fickle", "--id", "f1", *_FROM_ENV)
        await cortex(*args)
        await becomes(api, "online")
        listed = (await cortex("providers")).stdout
        assert "fickle" in listed
        assert "online" in (await cortex("provider", "status", "f1")).stdout
        assert "0.02" in (await cortex("provider", "pricing", "f1")).stdout
        assert "good" in (await cortex("provider", "test", "f1")).stdout
        assert "job_" not in (await cortex("provider", "jobs", "f1", "--json")).stdout
        assert "api_key" in (await cortex("provider", "types")).stdout
        assert "(needed)" in (await cortex("provider", "types", "fickle")).stdout
        assert "takes no new jobs" in (await cortex("provider", "disable", "f1")).stderr
        assert "disabled" in (await cortex("providers")).stdout
        assert "takes jobs" in (await cortex("provider", "enable", "f1")).stderr
        changed = await cortex("provider", "update", "f1", "--set", "region=us", "--json")
        assert last(changed)["config"] == {"region": "us"}
        back = await cortex("provider", "update", "f1", "--unset", "region", "--json")
        assert last(back)["config"] == {}
        assert "was removed" in (await cortex("provider", "remove", "f1")).stderr
        await cortex("provider", "show", "f1", code=4)
