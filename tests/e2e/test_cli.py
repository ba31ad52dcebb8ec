"""The command against a whole stack: what people and programs see and get."""

import hashlib
import re
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from cortex.domain.states import JobState
from tests.e2e.support import Command, check_books, files_in, shell, started
from tests.support import eventually, patience
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e


class TestRun:
    async def test_shows_states_output_exit_code_and_bill(self, cortex: Command) -> None:
        done = await cortex("run", "examples/hello.yaml")
        assert re.fullmatch(r"hello from Linux\nthe time is [\d:]{8} UTC\n", done.out)
        job_id = done.err.split()[0]
        assert job_id.startswith("job_")
        for words in ("trying `local` for", "deploying", "running", "completed · exit code 0"):
            assert words in done.err, done.err
        assert re.search(r"cost 0\.\d+ USD", done.err)
        assert f"/{job_id}" in done.err.splitlines()[-1]  # the link to its workflow
        shown = await cortex("job", job_id)
        for words in ("state      completed", "released", "History", "Bill", "charge"):
            assert words in shown.out, shown.out

    @pytest.mark.parametrize("code", [3, 42])
    async def test_passes_the_exit_code_on(self, cortex: Command, code: int) -> None:
        done = await cortex("run", "--", "sh", "-c", f"echo bad >&2; exit {code}", code=code)
        assert done.out == ""
        assert "bad\n" in done.err
        assert f"failed · exit code {code}" in done.err

    async def test_json_is_lines_of_json_only(self, cortex: Command) -> None:
        done = await cortex("run", "--json", "--", "sh", "-c", "echo one; echo two; exit 5", code=5)
        lines = done.json()
        assert {key for line in lines for key in line} == {"submitted", "event", "log", "job"}
        assert next(iter(lines[0])) == "submitted"
        assert [line["log"]["text"] for line in lines if "log" in line] == ["one", "two"]
        assert lines[-1]["job"]["exit_code"] == 5
        assert done.err == ""

    async def test_retries_are_on_the_bill(self, stack: Stack, cortex: Command) -> None:
        done = await cortex("run", "--json", "examples/fail.yaml", code=3)
        job = done.json()[-1]["job"]
        assert [lease["attempt"] for lease in job["leases"]] == [1, 2]
        await check_books(stack, [job["id"]])


class TestDoctor:
    async def test_finds_no_fault_in_a_stack_that_works(self, cortex: Command) -> None:
        done = await cortex("doctor", "--json")
        found = {finding["name"]: finding["verdict"] for finding in done.json()}
        assert {"schema", "key ring", "search attributes", "workers", "api"} <= set(found)
        assert set(found.values()) <= {"ok", "warning"}, done.out


class TestKey:
    async def test_is_printed_alone_or_as_json(self, stack: Stack, cortex: Command) -> None:
        (shown,) = (await cortex("status", "--json", "--show-key")).json()
        assert list(shown) == ["api_key"]
        assert (await cortex("status", "--show-key")).out == f"{shown['api_key']}\n"


class TestSubmit:
    async def test_waits_for_a_batch(self, stack: Stack, cortex: Command, tmp_path: Path) -> None:
        specs = [shell(f"echo {n}; exit {n % 2}", name=f"batch-{n}") for n in range(20)]
        file = tmp_path / "batch.json"
        file.write_bytes(orjson.dumps({"jobs": [spec.model_dump(mode="json") for spec in specs]}))
        done = await cortex("submit", str(file), "--wait", "--json", code=1)
        jobs = {job["name"]: job for job in done.json()}
        assert len(jobs) == 20
        for n in range(20):
            assert jobs[f"batch-{n}"]["exit_code"] == n % 2
        assert "10 of 20 completed" in done.err
        await check_books(stack, [job["id"] for job in jobs.values()])

    async def test_prints_ids_alone(self, stack: Stack, cortex: Command) -> None:
        done = await cortex("submit", "examples/hello.yaml")
        job = await stack.client.wait(done.out.strip(), timeout=patience(30))
        assert job.state is JobState.COMPLETED


class TestOutput:
    async def test_logs_follow_a_running_job_to_its_end(
        self, stack: Stack, cortex: Command
    ) -> None:
        job = await stack.client.submit(
            # Longer than a command takes to start on a busy machine.
            shell("echo first; for i in 1 2 3; do sleep 3; echo $i; done; echo last >&2")
        )
        await started(stack, [job.id])
        async with cortex.started("logs", "-f", job.id) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"first\n"
            assert not (await stack.client.job(job.id)).state.terminal
            out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"1\n2\n3\n", b"last\n")
        tail = await cortex("logs", "-n", "2", job.id)
        assert (tail.out, tail.err) == ("3\n", "last\n")

    async def test_outputs_are_written_and_checked(
        self, stack: Stack, cortex: Command, tmp_path: Path
    ) -> None:
        script = "mkdir -p out; seq 1000 >out/a.txt; printf x >out/b.bin; echo no >other"
        job = await stack.client.run(shell(script, outputs=["out/"]))
        assert job.state is JobState.COMPLETED, job
        listed = (await cortex("outputs", "list", "--json", job.id)).json()
        got = await cortex("outputs", "get", job.id, "-o", str(tmp_path))
        assert files_in(tmp_path) == ["a.txt", "b.bin"]
        for output in listed:
            data = (tmp_path / output["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == output["sha256"]
            assert str(tmp_path / output["path"]) in got.out
        missing = await cortex("outputs", "get", job.id, "other", "-o", str(tmp_path), code=4)
        assert "no result file `other`" in missing.err

    async def test_odd_outputs_cost_no_other_and_are_named(
        self, stack: Stack, cortex: Command, tmp_path: Path
    ) -> None:
        script = (
            "mkdir out out/empty; echo b >\"$(printf 'out/caf\\351')\"; echo n >'out/new\nline'; "
            "echo a >out/a; mkfifo out/pipe"
        )
        job = await stack.client.run(shell(script, outputs=["out/*", "*.csv"]))
        left = ["`*.csv` matches nothing", "`out/pipe` is a named pipe"]
        events = [event async for event in stack.client.events(job.id)]
        (stored,) = [event for event in events if event.type == "cortex.job.outputs.stored"]
        assert (stored.data["files"], stored.data["left_out"]) == (3, 2)
        assert all(line in stored.data["message"] for line in left)
        listed = await cortex("outputs", "list", job.id)
        assert "out/empty/" in listed.out
        assert all(f"not kept: {line}" in listed.err for line in left)
        folder = tmp_path / "got"
        (folder / "out/a").mkdir(parents=True)  # in the way of one file
        got = await cortex("outputs", "get", job.id, "-o", str(folder), code=1)
        assert "1 of 4 result files could not be saved" in got.err
        assert files_in(folder) == ["caf%E9", "new%0Aline"]
        assert (folder / "out/empty").is_dir()

    async def test_nothing_that_matched_is_said_with_a_hint_that_works(
        self, cortex: Command, tmp_path: Path
    ) -> None:
        spec = tmp_path / "job.yaml"
        spec.write_text("command: [sh, -c, 'true']\noutputs: ['*.csv']\n")
        ran = await cortex("run", str(spec))
        assert "0 result file(s) kept; not kept: `*.csv` matches nothing" in ran.err
        (hint,) = [line for line in ran.err.splitlines() if "results:" in line]
        words = hint.partition("cortex ")[2].split()
        assert words[-3:-1] == ["outputs", "list"]
        assert "`*.csv` matches nothing" in (await cortex(*words)).err
        failed = await cortex("outputs", "get", words[-1], code=4)
        assert "`*.csv` matches nothing" in failed.err

    async def test_events_resume(self, stack: Stack, cortex: Command) -> None:
        job = await stack.client.run(shell("echo"))
        all_ = (await cortex("events", "-f", "--json", job.id)).json()
        assert all_[0]["type"] == "cortex.job.submitted"
        states = [e["data"]["state"] for e in all_ if e["type"] == "cortex.job.state.changed"]
        assert states == ["placing", "deploying", "running", "settling", "completed"]
        half = len(all_) // 2
        after = all_[half - 1]["cortexposition"]
        rest = (await cortex("events", "-f", "--json", "--after", after, job.id)).json()
        assert rest == all_[half:]


class TestControl:
    async def test_cancel_waits_for_the_end(self, stack: Stack, cortex: Command) -> None:
        job = await stack.client.submit(shell("sleep 300"))
        await started(stack, [job.id])
        done = await cortex("cancel", "--wait", "--reason", "enough", job.id)
        assert done.out == f"{job.id}  cancelled\n"
        now = await stack.client.job(job.id)
        assert now.state is JobState.CANCELLED
        await check_books(stack, [job.id])
        await cortex("cancel", job.id, code=5)

    async def test_extend_moves_the_deadline(self, stack: Stack, cortex: Command) -> None:
        job = await stack.client.submit(shell("sleep 6; echo late", duration="4s"))
        await started(stack, [job.id])
        before = (await stack.client.job(job.id)).deadline_at
        shown = (await cortex("extend", "--json", job.id, "1m")).json()[0]
        assert before is not None
        assert datetime.fromisoformat(shown["deadline_at"]) - before == timedelta(minutes=1)
        ended = await stack.client.wait(job.id, timeout=patience(30))
        assert ended.state is JobState.COMPLETED

    async def test_deadline_ends_a_job(self, stack: Stack, cortex: Command) -> None:
        done = await cortex("run", "--duration", "2s", "--", "sleep", "300", code=1)
        assert "failed · deadline" in done.err
        await check_books(stack, [done.err.split()[0]])

    async def test_command_that_does_not_exist(self, stack: Stack, cortex: Command) -> None:
        done = await cortex("run", "--", "no-such-program-at-all", code=127)
        assert "failed · exit code 127" in done.err
        await check_books(stack, [done.err.split()[0]])


class TestTerminal:
    async def test_what_has_not_ended_is_seen_and_the_last_state_stays(
        self, cortex: Command
    ) -> None:
        """From the command over log, database and stream to the terminal."""
        bar = "for i in 1 2 3 4; do printf '\\r%d%% done' ${i}0; done"
        script = f"{bar}; echo; {bar} >&2; printf 'Name: '; exec sleep 300"
        async with cortex.on_terminal("run", "--", "sh", "-c", script) as terminal:
            await terminal.shows("Name: ")
            terminal.press("\x03")
            await terminal.shows("[c]ancel the job or [d]etach")
            terminal.press("c\n")
            assert await terminal.ends() == 130
        job_id = re.findall(r"job_\w+", terminal.text)[0]
        done = await cortex("logs", job_id)
        assert done.out.splitlines() == ["40% done", "Name: "]
        assert done.err.splitlines() == ["40% done"]


class TestKeys:
    """Ctrl-C on a terminal."""

    async def test_c_cancels(self, stack: Stack, cortex: Command) -> None:
        async with cortex.on_terminal("run", "--", "sleep", "300") as terminal:
            await terminal.shows("running")
            terminal.press("\x03")
            await terminal.shows("[c]ancel the job or [d]etach")
            terminal.press("c\n")
            assert await terminal.ends() == 130
            await terminal.shows("cancelled · ", within=5)
        job_id = re.findall(r"job_\w+", terminal.text)[0]
        assert (await stack.client.job(job_id)).state is JobState.CANCELLED
        await check_books(stack, [job_id])

    async def test_d_detaches(self, stack: Stack, cortex: Command) -> None:
        async with cortex.on_terminal("run", "--", "sh", "-c", "sleep 5; exit 7") as terminal:
            await terminal.shows("running")
            terminal.press("\x03")
            await terminal.shows("[c]ancel the job or [d]etach")
            terminal.press("d\n")
            assert await terminal.ends() == 0
            await terminal.shows("goes on", within=5)
        job_id = re.findall(r"job_\w+", terminal.text)[0]
        assert f"cancel {job_id}" in terminal.text
        ended = await stack.client.wait(job_id, timeout=patience(30))
        assert ended.exit_code == 7


class TestMoney:
    async def test_quote_ranks(self, cortex: Command) -> None:
        answer = (await cortex("quote", "--json", "examples/outputs.yaml")).json()[0]
        assert [offer["rank"] for offer in answer["offers"]] == [1]
        assert answer["offers"][0]["offer"]["provider_id"] == "local"
        assert Decimal(answer["offers"][0]["most"]["amount"]) > 0
        shown = await cortex("quote", "examples/outputs.yaml")
        ranked, heading = shown.out.splitlines()[:2]
        assert ranked == "ranked by cost (price 100%)"
        assert heading.split()[:4] == ["#", "PROVIDER", "PER", "HOUR"]

    async def test_cost_and_ledger_add_up(self, stack: Stack, cortex: Command) -> None:
        await stack.client.run(shell("sleep 0.5"))

        async def quiet() -> bool:
            rows = await stack.rows("SELECT id FROM jobs WHERE finished_at IS NULL")
            return not rows

        await eventually(quiet, within=30, what="the end of all jobs")
        jobs = (await cortex("jobs", "--all", "--json")).json()
        bills = sum((Decimal(job["cost"]["amount"]) for job in jobs), Decimal(0))
        entries = (await cortex("ledger", "--json")).json()
        charges = [entry for entry in entries if entry["kind"] == "charge"]
        booked = sum((Decimal(entry["amount"]["amount"]) for entry in charges), Decimal(0))
        report = (await cortex("cost", "--by", "job", "--json")).json()[0]
        rows = sum((Decimal(row["charged"]["amount"]) for row in report["rows"]), Decimal(0))
        total = Decimal(report["total"][0]["amount"])
        assert bills == booked == rows == total > 0
        assert len(charges) == len({entry["lease_key"] for entry in charges})
        assert "open holds: 0" in (await cortex("ledger")).out
