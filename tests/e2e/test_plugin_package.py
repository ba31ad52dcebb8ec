"""A package from outside the tree, installed with pip: its network runs, its plugin listens."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from cortex.embedded.config import free_ports
from tests.e2e.support import REPO, Command
from tests.support import eventually, patience
from tests.support.stack import Stack, running_stack, short_folder
from tests.support.verify import assert_as_expected, verified

pytestmark = pytest.mark.e2e

EXAMPLE = REPO / "examples" / "plugin-provider"
TOKEN = "let-me-in"


async def _python(*args: str, path: Path | None = None, cwd: Path, within: float = 240) -> str:
    """Run this Python to its end; what it printed."""
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *args,
        cwd=cwd,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), patience(within))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode()[-3000:]
    return out.decode()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder("ctx-plug-") as made:
        yield made


@pytest.fixture(scope="module")
async def installed(folder: Path) -> Path:
    """The package, in a folder of its own beside Cortex; nothing is fetched."""
    site = folder / "site"
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site))
    await _python("-m", "pip", "install", *options, str(EXAMPLE), cwd=folder)
    return site


@pytest.fixture(scope="module")
async def queue(installed: Path, folder: Path) -> AsyncIterator[str]:
    """The queue as a process of its own, as on another machine."""
    (port,) = free_ports(1)
    words = ("--port", str(port), "--folder", str(folder / "queue"), "--token", TOKEN)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cortex_plugin_example.queue", *words),
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=folder,
    )
    url = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{url}/_sim/leases")).status_code == 200
            except httpx.HTTPError:
                return False

    try:
        await eventually(answers, what="the queue")
        yield url
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture(scope="module")
async def stack(installed: Path, queue: str, folder: Path) -> AsyncIterator[Stack]:
    settings = {
        "PYTHONPATH": str(installed),
        "CORTEX_PROVIDERS__SHED__TYPE": "queue",
        "CORTEX_PROVIDERS__SHED__URL": queue,
        "CORTEX_PROVIDERS__SHED__TOKEN": TOKEN,
        "CORTEX_PLUGINS__JOURNAL__FILE": str(folder / "journal.jsonl"),
    }
    async with running_stack(folder / "stack", settings) as running:
        yield running


async def test_its_own_tests_pass(installed: Path, folder: Path) -> None:
    """The suite that Cortex ships, in no mode or folder of ours."""
    said = await _python(
        *(
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-n",
            "3",
            "--pyargs",
            "cortex_plugin_example",
        ),
        path=installed,
        cwd=folder,
    )
    assert " passed" in said
    assert "failed" not in said


async def test_its_network_runs_jobs(stack: Stack, queue: str, tmp_path: Path) -> None:
    cortex = Command(stack.config.data_dir)
    shown = await cortex("providers")
    row = next(line for line in shown.out.splitlines() if line.startswith("shed"))
    assert "queue" in row
    assert "online" in row

    spec = tmp_path / "job.yaml"
    spec.write_text(
        """
        name: in-the-shed
        command: [sh, -c, 'echo $WHAT; echo seen >&2; mkdir out; echo 42 > out/answer; exit 3']
        env: {WHAT: hello}
        outputs: [out]
        placement: {providers: [shed]}
        """
    )
    done = await cortex("run", str(spec), code=3)
    assert "hello" in done.out
    job_id = done.err.split()[0]

    job = await stack.client.job(job_id)
    assert job.provider_id == "shed"
    assert (job.exit_code, job.state.value) == (3, "failed")
    files = await stack.client.outputs(job_id)
    assert [file.path for file in files] == ["out/answer"]
    assert await stack.client.output(job_id, "out/answer") == b"42\n"
    await _the_bill_is_the_queues_own(queue, job.leases[0].key, job.cost.amount)


async def test_its_network_is_verified_like_any_other(
    stack: Stack, queue: str, tmp_path: Path
) -> None:
    cortex = Command(stack.config.data_dir)
    told = await verified(cortex, "shed", tmp_path, code=2)
    assert told.summary.endswith("it costs real money, and nobody can be asked")
    told = await verified(cortex, "shed", tmp_path, "--yes")
    assert_as_expected(told)
    assert told.adapter is not None
    assert (told.adapter.package, told.adapter.version) == ("cortex-plugin-example", "1.0.0")
    assert (told.simulated, told.image) == (False, None)
    for run in told.runs:
        await _the_bill_is_the_queues_own(queue, run.lease_keys[0], run.cost.amount)
    assert TOKEN not in (tmp_path / "shed.json").read_text()


async def test_nothing_is_spent_without_a_yes(stack: Stack) -> None:
    before = (await stack.client.jobs(limit=1)).items
    words = ("provider", "verify", "shed", "--report", "/dev/null")
    async with Command(stack.config.data_dir).on_terminal(*words) as terminal:
        await terminal.shows("Run them on `shed`? [y/N]")
        assert "up to 0.0" in terminal.text
        terminal.press("n\n")
        assert await terminal.ends() == 2
    assert "you have not agreed" in terminal.text
    assert [job.id for job in (await stack.client.jobs(limit=1)).items] == [j.id for j in before]


async def test_its_plugin_is_handed_events(stack: Stack, folder: Path) -> None:
    cortex = Command(stack.config.data_dir)
    done = await cortex("run", "--provider", "shed", "--", "true")
    job_id = done.err.split()[0]
    journal = folder / "journal.jsonl"

    async def written() -> bool:
        return "completed" in _states(journal, job_id)

    await eventually(written, what="the end of the job in the journal")
    assert _states(journal, job_id)[-1] == "completed"
    ids = [line["id"] for line in _lines(journal)]
    assert len(set(ids)) == len(ids)
    row = next(line for line in (await cortex("plugins")).out.splitlines() if "journal" in line)
    assert "cortex-plugin-example 1.0.0" in row
    assert "ok" in row
    shown = (await cortex("--json", "plugins", "journal")).json()[0]
    assert shown["subscribers"][0]["delivered"] >= 3


async def test_its_plugin_fails_where_all_can_see_it(stack: Stack, folder: Path) -> None:
    """The journal's file cannot be written: jobs go on, `cortex plugins` says why."""
    cortex = Command(stack.config.data_dir)
    journal = folder / "journal.jsonl"
    kept = journal.rename(folder / "kept.jsonl")
    journal.mkdir()
    try:
        await cortex("run", "--provider", "shed", "--", "true")

        async def failing() -> bool:
            shown = (await cortex("--json", "plugins", "journal")).json()[0]
            message: str = shown["message"]
            return shown["status"] == "failing" and "IsADirectoryError" in message

        await eventually(failing, what="the plugin is shown as failing")
    finally:
        journal.rmdir()
        kept.rename(journal)

    async def well_again() -> bool:
        shown = (await cortex("--json", "plugins", "journal")).json()[0]
        return bool(shown["status"] == "ok")

    await eventually(well_again, within=60, what="the event was taken after all")
    shown = (await cortex("--json", "plugins", "journal")).json()[0]
    assert shown["skipped"] == []


def _lines(journal: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def _states(journal: Path, job_id: str) -> list[str]:
    if not journal.exists():
        return []
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    return [event["data"].get("state", "") for event in events if event["subject"] == job_id]


async def _the_bill_is_the_queues_own(queue: str, key: str, charged: Decimal) -> None:
    async with httpx.AsyncClient(timeout=timedelta(seconds=10).total_seconds()) as client:
        bill = (await client.get(f"{queue}/_sim/bill")).json()
    assert [Decimal(line["amount"]) for line in bill if line["key"] == key] == [charged]
    assert charged > 0
