"""The command line about money, against a real server: budgets, costs, sheets."""

import asyncio
import csv
import io
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
import structlog
from typer.testing import CliRunner

from cli.main import app
from cortex.db.engine import Database
from cortex.schemas.money import BudgetView
from cortex.settings import Settings
from tests.api.routes.test_outputs import charge
from tests.api.support import KEY, serve, spec


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The server logs in this process, and what it said would be taken for a command's output."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


class Terminal:
    """Runs `cortex` commands against one server, in this process."""

    def __init__(self, url: str) -> None:
        self._front = ("--url", url, "--api-key", KEY)

    async def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What it wrote to stdout and stderr."""
        result = await asyncio.to_thread(CliRunner().invoke, app, [*self._front, *words])
        assert result.exit_code == code, result.output
        return result.stdout, result.stderr


async def submitted(url: str) -> str:
    headers = {"x-api-key": KEY}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        job = spec(resources={"cpu": 1}, duration="1h", labels={"team": "=1+1"})
        answer = await client.post("/api/v1/jobs", json=job)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


@pytest.mark.usefixtures("providers")
async def test_budgets(settings: Settings) -> None:
    async with serve(settings) as (url, _):
        cortex = Terminal(url)
        out, err = await cortex.run("budget", "list")
        assert (out, "there is no budget" in err) == ("", True)
        _, err = await cortex.run(
            "budget", "add", "team", "0.03 USD", "--label", "team==1+1", "--stop"
        )
        assert "budget `team` was added: 0.03 USD left this month" in err
        await submitted(url)
        out, _ = await cortex.run("budget", "list")
        heading, row = (line for line in out.splitlines() if line.startswith(("ID", "bud_")))
        assert heading.split()[:3] == ["ID", "NAME", "JOBS"]
        assert "0.02 USD" in row
        assert "67%" in row
        _, err = await cortex.run("budget", "set", "team", "--amount", "1 USD")
        assert "0.98 USD left" in err
        out, _ = await cortex.run("budget", "show", "team", "--json")
        shown = BudgetView.model_validate_json(out)
        assert (str(shown.reserved), shown.action) == ("0.02 USD", "stop")
        out, _ = await cortex.run("budget", "show", "team")
        assert "0.02 USD for accepted jobs without a lease" in out
        assert "expected by the end of the month" in out
        _, err = await cortex.run("budget", "add", "x", "1 GLM", code=2)
        assert "`GLM` has no known rate" in err
        await cortex.run("budget", "remove", "team")
        _, err = await cortex.run("budget", "show", "team", code=4)
        assert "there is no budget `team`" in err


@pytest.mark.usefixtures("providers")
async def test_costs_and_sheets(settings: Settings, database: Database, tmp_path: Path) -> None:
    async with serve(settings) as (url, _):
        cortex = Terminal(url)
        job_id = await submitted(url)
        await charge(database, job_id, "local", "0.25")
        out, _ = await cortex.run("cost", "--by", "day,label:team")
        assert out.splitlines()[0].split() == ["DAY", "TEAM", "JOBS", "CHARGED", "HELD"]
        assert "total charged: 0.25 USD" in out
        assert "expected by the end of the month" in out
        out, _ = await cortex.run("cost", "--by", "label:team", "--csv", "-")
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        assert [(row["label:team"], Decimal(row["charged"])) for row in rows] == [
            ("'=1+1", Decimal("0.25"))
        ]
        target = tmp_path / "ledger.csv"
        _, err = await cortex.run("ledger", "--csv", str(target))
        assert "3 rows were written" in err
        kinds = [row["kind"] for row in csv.DictReader(target.open(newline=""))]
        assert sorted(kinds) == ["charge", "hold", "release"]
        _, err = await cortex.run("cost", "--by", "color", code=2)
        assert "--by `color`" in err
