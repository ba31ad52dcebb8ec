"""How answers are read, in every form that the official schema allows; and that what the adapter
sends, and the simulator answers, is as the service's own OpenAPI file says. (What the service was
recorded answering is in test_recordings.)
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cortex.domain.states import RunState
from providers.dropbox import DropBox
from providers.nosana import results, snapshots, wire
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from simulators.nosana import NosanaWorld
from tests.providers.nosana.conftest import SECRET, Sim
from tests.providers.nosana.support import ended, job, new_key
from tests.support.openapi import Contract, Recorder

DEPLOYMENT = wire.Deployment.model_validate(
    {
        "id": "D",
        "name": "cortex-x",
        "market": "M",
        "status": "RUNNING",
        "timeout": 10,
        "created_at": "2026-11-24T10:00:00Z",
    }
)


def detail(state: Any = "COMPLETED", **op: Any) -> wire.JobDetail:
    """A run whose only operation has these fields, and a container unless they say otherwise."""
    op = {"operationId": "main", "providerId": "c0ffee", **op} if op else {}
    result = {"status": "success", "opStates": [op]} if op else None
    return wire.JobDetail.model_validate(
        {"state": state, "timeStart": 100, "timeEnd": 160, "jobResult": result}
    )


def reason(**flags: Any) -> dict[str, Any]:
    return {"reason": {"hostShutDown": False, "jobStopped": False, "jobExpired": False, **flags}}


class TestStates:
    @pytest.mark.parametrize(
        ("run", "state", "code", "words"),
        [
            (detail(2, exitCode=0), RunState.EXITED, 0, ""),
            (detail("2", exitCode=7), RunState.EXITED, 7, ""),
            (detail("COMPLETED", exitCode=137), RunState.EXITED, 137, ""),
            (
                detail(exitCode=None, diagnostics={**reason(), "state": {"ExitCode": 9}}),
                RunState.EXITED,
                9,
                "",
            ),
            (
                detail(
                    exitCode=137,
                    diagnostics={**reason(), "state": {"ExitCode": 137, "OOMKilled": True}},
                ),
                RunState.EXITED,
                137,
                "memory",
            ),
            (
                detail(exitCode=0, diagnostics=reason(hostShutDown=True)),
                RunState.LOST,
                None,
                "shut down",
            ),
            *(
                (
                    detail(exitCode=code, diagnostics=reason(jobExpired=True)),
                    RunState.EXITED,
                    124,
                    "time limit",
                )
                for code in (0, 5, 137, 143)
            ),
            *(
                (
                    detail("STOPPED", exitCode=code, diagnostics=reason(jobStopped=True)),
                    RunState.LOST,
                    None,
                    "stopped",
                )
                for code in (0, 4, 143)
            ),
            (detail("STOPPED", exitCode=0, status="stopped"), RunState.LOST, None, "stopped"),
            (
                detail("STOPPED", exitCode=0, status="stopped", providerId=None),
                RunState.LOST,
                None,
                "stopped",
            ),
            (detail(exitCode=0, providerId=None), RunState.LOST, None, "before its container"),
            (
                detail(
                    exitCode=2,
                    status="failed",
                    providerId=None,
                    errors=[{"event": "image-pull-error", "message": "manifest unknown"}],
                ),
                RunState.LOST,
                None,
                "the image cannot be pulled: manifest unknown",
            ),
            (
                detail(
                    exitCode=0,
                    status="failed",
                    providerId=None,
                    logs=[{"type": "nodeerr", "log": "Unresolved literal: x"}],
                ),
                RunState.LOST,
                None,
                "Unresolved literal",
            ),
            (
                detail(exitCode=0, errors=[{"event": "volume-error", "message": "disk full"}]),
                RunState.LOST,
                None,
                "disk full",
            ),
            (detail(3), RunState.LOST, None, "no result"),
            (detail(2), RunState.LOST, None, "no result"),
            (detail(exitCode=None, status="failed"), RunState.LOST, None, "no exit code"),
            (
                detail(error={"event": "e", "message": "no disk"}),
                RunState.LOST,
                None,
                "no disk",
            ),
            (detail(0), RunState.STARTING, None, "queue"),
            (detail("RUNNING"), RunState.RUNNING, None, ""),
        ],
    )
    def test_of_a_run(
        self, run: wire.JobDetail, state: RunState, code: int | None, words: str
    ) -> None:
        snapshot = snapshots.of_run("k", DEPLOYMENT, run)
        assert (snapshot.state, snapshot.exit_code) == (state, code)
        assert words in snapshot.message

    @pytest.mark.parametrize(
        ("status", "final"),
        [
            ("DRAFT", False),
            ("STARTING", False),
            ("RUNNING", False),
            ("STOPPING", False),
            ("STOPPED", True),
            ("ERROR", True),
            ("INSUFFICIENT_FUNDS", True),
            ("ARCHIVED", True),
        ],
    )
    def test_of_a_deployment_without_a_run(
        self, status: wire.DeploymentStatus, final: bool
    ) -> None:
        """Never a success: nothing has run."""
        deployment = DEPLOYMENT.model_copy(update={"status": status})
        snapshot = snapshots.without_run("k", deployment)
        assert snapshot.state is (RunState.LOST if final else RunState.STARTING)
        assert snapshot.message


class TestOutput:
    def lines(self, *parts: dict[str, Any]) -> list[tuple[str, str]]:
        lines = results.lines_of(detail(exitCode=0, logs=list(parts)), "k")
        assert [line.cursor for line in lines] == [str(n + 1) for n in range(len(lines))]
        assert [line.time for line in lines] == sorted(line.time for line in lines)
        return [(line.stream, line.text) for line in lines]

    def test_parts_are_pieces_of_a_stream(self) -> None:
        assert self.lines(
            {"type": "stdout", "log": "one\ntw"},
            {"type": "stderr", "log": "oops\r\n"},
            {"type": "stdout", "log": "o\n\nlast"},
            {"type": "stdin", "log": "typed"},
            {"type": "nodeerr", "log": "pull failed"},
        ) == [
            ("stdout", "one"),
            ("stderr", "oops"),
            ("stdout", "two"),
            ("stdout", ""),
            ("stdout", "last"),
            ("stderr", "[node] pull failed"),
        ]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-11-24T10:00:00.123456789Z", datetime(2026, 11, 24, 10, 0, 0, 123456, UTC)),
            ("2026-11-24T10:00:00", datetime(2026, 11, 24, 10, tzinfo=UTC)),
            ("1795514400000", datetime(2026, 11, 24, 10, tzinfo=UTC)),
            ("yesterday", datetime.fromtimestamp(100, UTC)),
            (None, datetime.fromtimestamp(100, UTC)),
        ],
    )
    def test_times(self, text: str | None, expected: datetime) -> None:
        logs = [{"type": "stdout", "log": "x\n", "timestamp": text}]
        (line,) = results.lines_of(detail(exitCode=0, logs=logs), "k")
        assert line.time == expected


class TestUnfit:
    """Lost for a reason of the job's own: it is not held against the network."""

    @pytest.mark.parametrize(
        ("event", "message", "unfit"),
        [
            ("image-pull-error", "manifest unknown", True),
            ("image-pull-error", "timeout", False),
            ("container-runtime-error", "crun: executable file `x` not found in $PATH", True),
            ("container-runtime-error", "nvidia-container-cli: no device", False),
            ("volume-error", "disk full", False),
        ],
    )
    def test_of_a_container_that_was_not_started(
        self, event: str, message: str, unfit: bool
    ) -> None:
        errors = [{"event": event, "message": message}]
        run = detail(exitCode=2, status="failed", providerId=None, errors=errors)
        snapshot = snapshots.of_run("k", DEPLOYMENT, run)
        assert (snapshot.state, snapshot.unfit) == (RunState.LOST, unfit)


class TestContract:
    """A life's calls and answers against the service's own OpenAPI file."""

    async def test_calls_and_answers(self, tmp_path: Path) -> None:
        # Wallets name themselves in a header; the service in front takes an API key instead.
        wallet = {
            '"name": "x-user-id",\n      "required": true': '"name": "x-user-id"',
            '"openapi": "3.0.0"': '"openapi": "3.1.0"',  # it has types of 3.1 in it
        }
        contract = Contract("recordings/nosana/openapi.json", prefix="/api", replace=wallet)
        (tmp_path / "world").mkdir()
        world = NosanaWorld(tmp_path / "world", Clock(), Runs(tmp_path / "runs"))
        recorder = Recorder(make_app(world))
        async with serving(recorder) as url:
            provider = await Sim(url, DropBox(url, SECRET), world).provider(drop=False)
            spec = job("echo hello", ports=[{"port": 80}], kind="service", env={"A": "b"})
            ref = (await provider.submit(spec, new_key())).ref
            await ended(provider, ref)
            await provider.owned()
            await provider.find(ref.key)
            await provider.cancel(ref)
            await provider.forget(ref)
            await provider.aclose()
        other = ("/api/markets/", "/api/credits/balance")  # of the closed service in front
        met = [exchange for exchange in recorder.exchanges if exchange.path not in other]
        assert {exchange.method for exchange in met} == {"GET", "POST", "DELETE"}
        known = {
            "DELETE ": "the file has a body for its 204; the service was recorded sending none"
        }
        assert contract.problems(met, known=known) == []


class TestBooks:
    async def test_its_books_outlive_a_restart(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("exit 3"), new_key())).ref
        await ended(provider, ref)
        world = type(sim.world)(sim.world.folder, sim.world.clock, sim.world.runs)
        assert [lease.key for lease in await world.leases()] == [ref.key]
        assert await world.bill() == await sim.world.bill()
        await asyncio.gather(provider.aclose(), world.aclose())
