"""`cortex provider verify` where something is wrong: what it says, spends and leaves behind."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.verify.model import VerifyReport
from tests.api.support import KEY, serve
from tests.e2e.support import Command
from tests.integration.conftest import Stage
from tests.integration.managed import URL, add, api, becomes, shared_api, shared_stage
from tests.support.fickle import FickleProvider, fickle, fickle_installed
from tests.support.verify import by_name, command_for, refused, verified

__all__ = ["api", "fickle", "fickle_installed", "shared_api", "shared_stage"]
pytestmark = [pytest.mark.integration, pytest.mark.slow]
PLANTED = "planted-key-4711"
VARIABLE = "planted-variable-0815"


@pytest.fixture(scope="module")
async def server(shared_api: httpx.AsyncClient, shared_stage: Stage) -> AsyncIterator[str]:
    """The API of the stage on a real socket, for processes."""
    async with serve(shared_stage.settings) as (url, _):
        yield url


@pytest.fixture
def cortex(server: str, tmp_path: Path) -> Command:
    return command_for(server, KEY, tmp_path, SOME_TOKEN=VARIABLE, HOME=str(tmp_path))


async def ready(api: httpx.AsyncClient, **config: Any) -> None:
    await add(api, **config)
    await becomes(api, "online")


async def jobs(stage: Stage) -> int:
    async with stage.database.transaction() as tx:
        count = await tx.connection.exec_driver_sql("SELECT count(*) FROM jobs")
        return int(count.scalar_one())


class TestDifferences:
    async def test_each_is_told_and_nothing_is_left(
        self, shared_stage: Stage, api: httpx.AsyncClient, cortex: Command, tmp_path: Path
    ) -> None:
        """A network that runs nothing, and says that all went well."""
        await ready(api, run_seconds=2, exit_code=3, api_key=PLANTED)
        told = await verified(cortex, "f1", tmp_path, "--yes", code=1)
        assert (told.verdict, told.remaining) == ("differences", ())
        results = by_name(told)
        assert {name for name, result in results.items() if result == "different"} == {
            "exit code",
            "output file",
        }
        assert results["log"] == "cannot"
        assert results["stop"] == "ok"
        code, file = (
            next(step for step in told.steps if step.name == name)
            for name in ("exit code", "output file")
        )
        assert code.observed.startswith("exit code 3, failed (exited)")
        assert file.observed == "it is not there; there is no file at all"
        assert told.adapter is not None
        assert told.adapter.type == "fickle"
        assert all(len(run.charged) == 1 for run in told.runs)

    async def test_no_secret_is_in_a_report(
        self,
        api: httpx.AsyncClient,
        cortex: Command,
        fickle: type[FickleProvider],
        tmp_path: Path,
    ) -> None:
        await ready(api, api_key=PLANTED, registries=[{"server": "r", "password": PLANTED}])
        fickle.switches["main"].down = f"no, {PLANTED}, {VARIABLE}, {tmp_path}/x, {KEY}"
        for name in ("r.md", "r.json"):
            words = ("provider", "verify", "f1", "--report", str(tmp_path / name))
            done = await cortex(*words, code=2)
            text = (tmp_path / name).read_text() + done.out.replace(str(tmp_path / name), "")
            assert "maintenance" not in text
            assert "no, •••" in text
            for secret in (PLANTED, VARIABLE, str(tmp_path)):
                assert secret not in (tmp_path / name).read_text()
            assert PLANTED not in text


class TestCannotRun:
    """Nothing is bought: no job is made, the exit code is 2, and it says what to do."""

    @pytest.fixture(autouse=True)
    async def none_made(self, shared_stage: Stage) -> AsyncIterator[None]:
        before = await jobs(shared_stage)
        yield
        assert await jobs(shared_stage) == before

    async def why(self, cortex: Command, folder: Path, *options: str) -> tuple[str, str]:
        told: VerifyReport = await verified(cortex, "f1", folder, *options, code=2)
        assert told.verdict == "could not run"
        assert not told.runs
        (failed,) = [step for step in told.steps if step.result == "failed"]
        return failed.observed, failed.todo

    async def test_an_unknown_provider(self, api: httpx.AsyncClient, cortex: Command) -> None:
        done = await cortex("provider", "verify", "nowhere", "--json", code=2)
        errors = refused(done)
        assert errors["message"] == "there is no provider `nowhere`"
        assert errors["details"] == ["`cortex providers` lists those that there are"]

    async def test_one_that_is_switched_off(
        self, api: httpx.AsyncClient, cortex: Command, tmp_path: Path
    ) -> None:
        await ready(api)
        await api.post(f"{URL}/f1/disable")
        assert await self.why(cortex, tmp_path, "--yes") == (
            "`f1` is switched off",
            "`cortex provider enable f1` switches it on",
        )

    async def test_a_network_that_does_not_answer(
        self,
        api: httpx.AsyncClient,
        cortex: Command,
        fickle: type[FickleProvider],
        tmp_path: Path,
    ) -> None:
        await ready(api)
        fickle.switches["main"].down = "maintenance until noon"
        why, todo = await self.why(cortex, tmp_path, "--yes")
        assert "maintenance until noon" in why
        assert "can be reached" in todo

    async def test_wrong_credentials(
        self, api: httpx.AsyncClient, cortex: Command, tmp_path: Path
    ) -> None:
        await add(api, api_key="wrong-key-0815")
        why, todo = await self.why(cortex, tmp_path, "--yes")
        assert why.startswith("the network refuses the credentials")
        assert "wrong-key-0815" not in why
        assert todo == "renew its credentials: `cortex provider update f1 --ask api_key`"

    async def test_an_offer_over_the_budget(
        self,
        api: httpx.AsyncClient,
        cortex: Command,
        fickle: type[FickleProvider],
        tmp_path: Path,
    ) -> None:
        await ready(api, prices={"cpu_hour": "6"})
        why, todo = await self.why(cortex, tmp_path, "--yes")
        assert "two runs of at most 10m may cost 1.0005 USD, over the budget of 0.5 USD" in why
        assert todo == "give `--budget 1.0005`, or a shorter `--timeout`"

    async def test_an_empty_account(
        self, api: httpx.AsyncClient, cortex: Command, tmp_path: Path
    ) -> None:
        await ready(api, prices={"cpu_hour": "60"})
        why, todo = await self.why(cortex, tmp_path, "--yes", "--budget", "20 USD")
        assert why == "the account has 7.5 USD, and both runs may cost 10.0005 USD"
        assert "pay money in" in todo


async def test_one_that_renders_scenes_only_says_so(
    shared_stage: Stage, api: httpx.AsyncClient, cortex: Command, tmp_path: Path
) -> None:
    await ready(api, scenes_only=True)
    told = await verified(cortex, "f1", tmp_path, "--yes", code=2)
    assert "it renders scenes only, and runs no commands" in told.summary


async def test_a_verification_that_runs_already_is_not_doubled(
    shared_stage: Stage, api: httpx.AsyncClient, cortex: Command, tmp_path: Path
) -> None:
    await ready(api, run_seconds=-1)
    job_id = await shared_stage.submit(
        command=["x"], placement={"providers": ["f1"]}, labels={"cortex.verify": "f1"}
    )
    told = await verified(cortex, "f1", tmp_path, "--yes", code=2)
    assert job_id in told.summary
    await api.post(f"/api/v1/jobs/{job_id}/cancel")
    await shared_stage.ended(job_id)


async def test_a_deadline_ends_what_nobody_ends(
    shared_stage: Stage, api: httpx.AsyncClient, cortex: Command, tmp_path: Path
) -> None:
    """A network on which a batch is never seen to end: told as such, and all is released."""
    await ready(api, run_seconds=-1)
    told = await verified(cortex, "f1", tmp_path, "--yes", "--timeout", "10s", code=1)
    results = by_name(told)
    assert (results["exit code"], results["stop"]) == ("different", "ok")
    (code,) = [step for step in told.steps if step.name == "exit code"]
    assert "deadline_exceeded" in code.observed
    assert told.remaining == ()
    assert json.loads(told.model_dump_json())["runs"][0]["reason"] == "deadline_exceeded"
