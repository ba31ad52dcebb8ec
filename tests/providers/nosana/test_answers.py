"""How answers are read, in every form that the official schema allows; and that the simulator
answers in its form: the fields of npm `@nosana/api` 2.1.8, no more and no less.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from cortex.domain.states import RunState
from providers.nosana import results, snapshots, wire
from simulators.nosana import API_KEY
from tests.providers.nosana.conftest import Sim
from tests.providers.nosana.test_provider import ended, job, new_key

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
    """A run whose only operation has these fields."""
    result = {"status": "x", "opStates": [{"operationId": "main", **op}]} if op else None
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
            (
                detail(exitCode=0, diagnostics=reason(jobExpired=True)),
                RunState.EXITED,
                124,
                "time limit",
            ),
            (
                detail("STOPPED", exitCode=143, diagnostics=reason(jobStopped=True)),
                RunState.EXITED,
                143,
                "",
            ),
            (detail(3), RunState.LOST, None, "no result"),
            (detail(2), RunState.LOST, None, "no exit code"),
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
        found = snapshots.of_run("k", DEPLOYMENT, run)
        assert (found.state, found.exit_code) == (state, code)
        assert words in found.message

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
        found = snapshots.without_run("k", deployment)
        assert found.state is (RunState.LOST if final else RunState.STARTING)
        assert found.message


class TestOutput:
    def lines(self, *parts: dict[str, Any]) -> list[tuple[str, str]]:
        found = results.lines_of(detail(exitCode=0, logs=list(parts)), "k")
        assert [line.cursor for line in found] == [str(n + 1) for n in range(len(found))]
        assert [line.time for line in found] == sorted(line.time for line in found)
        return [(line.stream, line.text) for line in found]

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


class TestForm:
    """The simulator's answers against the official schema."""

    async def test_fields(self, sim: Sim) -> None:
        provider = await sim.provider()
        spec = job("echo hello", ports=[{"port": 80}], kind="service")
        ref = (await provider.submit(spec, new_key())).ref
        await ended(provider, ref)
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(base_url=sim.url, headers=headers) as client:
            top = f"/api/deployments/{ref.network_id}"
            paths = (top, f"{top}/jobs", "/api/deployments?limit=10", "/api/markets/")
            one, jobs, page, markets = [(await client.get(path)).json() for path in (*paths,)]
            run = (await client.get(f"{top}/jobs/{jobs['jobs'][0]['job']}")).json()
            balance = (await client.get("/api/credits/balance")).json()
            archived = (await client.post(f"{top}/archive")).json()
        assert set(one) == _DEPLOYMENT
        assert set(one["endpoints"][0]) == {"opId", "port", "url"}
        assert set(jobs["jobs"][0]) == _JOB
        assert set(jobs["pagination"]) == set(page["pagination"]) == _PAGINATION
        assert page["deployments"] == [one]
        assert set(markets[0]) <= _MARKET | _MARKET_OPTIONAL
        assert set(markets[0]) >= _MARKET
        assert set(run) == _JOB_DETAIL
        assert set(run["jobResult"]) <= {"status", "startTime", "endTime", "errors", "opStates"}
        op = run["jobResult"]["opStates"][0]
        assert set(op) >= _OP
        assert set(op) <= _OP | {"results", "error"}
        assert set(op["logs"][0]) <= {"type", "log", "timestamp"}
        assert set(op["diagnostics"]["reason"]) >= {"hostShutDown", "jobStopped", "jobExpired"}
        assert set(balance) == {"assignedCredits", "reservedCredits", "settledCredits"}
        assert set(archived) == {"status", "updated_at"}
        await provider.aclose()

    async def test_refusals(self, sim: Sim) -> None:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(base_url=sim.url) as client:
            answer = await client.get("/api/deployments")
            assert (answer.status_code, answer.json()) == (401, "Unauthorized")
            answer = await client.get("/api/deployments?limit=7", headers=headers)
            assert answer.status_code == 400
            answer = await client.get("/api/deployments/none", headers=headers)
            assert (answer.status_code, list(answer.json())) == (404, ["error"])
            body = {"name": "x", "market": "none"}
            answer = await client.post("/api/deployments/create", json=body, headers=headers)
            assert answer.json() == {"error": "market not found"}

    async def test_its_books_outlive_a_restart(self, sim: Sim) -> None:
        provider = await sim.provider()
        ref = (await provider.submit(job("exit 3"), new_key())).ref
        await ended(provider, ref)
        world = type(sim.world)(sim.world.folder, sim.world.clock, sim.world.runs)
        assert [item.key for item in await world.leases()] == [ref.key]
        assert await world.bill() == await sim.world.bill()
        await asyncio.gather(provider.aclose(), world.aclose())


_DEPLOYMENT = {
    *("id", "name", "vault", "market", "owner", "status", "replicas", "timeout", "endpoints"),
    *("confidential", "active_revision", "active_jobs", "created_at", "updated_at", "strategy"),
}
_JOB = {
    *("tx", "job", "deployment", "market", "revision", "state", "time_start"),
    *("created_at", "updated_at"),
}
_JOB_DETAIL = {
    *("confidential", "revision", "market", "node", "state", "jobStatus", "jobDefinition"),
    *("jobResult", "timeStart", "timeEnd", "listedAt"),
}
_OP = {
    *("providerId", "operationId", "group", "status", "startTime", "endTime", "exitCode"),
    *("logs", "diagnostics"),
}
_PAGINATION = {"cursor_next", "cursor_prev", "total_items"}
_MARKET = {
    *("address", "slug", "name", "sft", "type", "usd_reward_per_hour", "nos_reward_per_second"),
    *("nos_job_price_per_second", "network_fee_percentage", "premium_community_relation"),
    *("gpu_types", "required_images", "required_remote_resources", "client"),
}
_MARKET_OPTIONAL = {"nodes", "lowest_vram", "max_usd_uptime_reward_per_day"}
