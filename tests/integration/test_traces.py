"""Traces of real jobs: through workflow, Temporal's history and the database."""

import httpx
import pytest

from cli.state import State
from cli.trace_view import show_trace
from cortex.domain.trace.model import Phase, StepState, Trace
from tests.api.support import JOBS, client_of
from tests.integration.conftest import Stage, StageMaker
from tests.integration.groups import job, submit
from tests.integration.test_jobs import LOCAL, sh

NULL = {"type": "null", "run_seconds": 0}


async def traced(stage: Stage, job_id: str) -> Trace:
    async with client_of(stage.settings) as http:
        return await trace_of(http, job_id)


async def trace_of(http: httpx.AsyncClient, job_id: str) -> Trace:
    answer = await http.get(f"{JOBS}/{job_id}/trace")
    assert answer.status_code == 200, answer.text
    return Trace.model_validate_json(answer.content)


class TestJob:
    async def test_each_step_of_a_good_job(
        self, make_stage: StageMaker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job_id = await stage.submit(**sh("echo hello; sleep 0.2"))
            await stage.ended(job_id)
            trace = await traced(stage, job_id)
        assert (trace.kind, trace.state, trace.temporal) == ("job", "completed", "read")
        phases = list(dict.fromkeys(step.phase for step in trace.steps))
        assert phases == [
            Phase.ACCEPT,
            Phase.START,
            Phase.PLACE,
            Phase.INTEND,
            Phase.RESERVE,
            Phase.COMMIT,
            Phase.WATCH,
            Phase.SETTLE,
            Phase.BOOK,
            Phase.RELEASE,
            Phase.CLOSE,
        ]
        assert {step.state for step in trace.steps} == {StepState.DONE}
        starts = [step.started_at for step in trace.steps if step.started_at]
        assert starts == sorted(starts)
        by_phase = {step.phase: step for step in trace.steps}
        for phase in (Phase.PLACE, Phase.RESERVE, Phase.COMMIT):
            assert by_phase[phase].tries == 1, phase
        assert by_phase[Phase.RESERVE].to == "queue `provider.local`"
        assert by_phase[Phase.RESERVE].ended_at is not None
        assert {s.part for s in trace.steps if s.phase is Phase.SETTLE} >= {"cancel", "usage"}
        show_trace(State(color=False), trace, full=True)
        shown = capsys.readouterr().out
        assert "settle: cancel" in shown
        assert "activity `acquire`: make the reservation live" in shown
        assert "charged" in shown

    async def test_a_job_that_is_lost_and_started_anew(self, make_stage: StageMaker) -> None:
        stage = await make_stage(bad={**NULL, "exit_code": 3})
        async with stage.worker():
            job_id = await stage.submit(retries={"on_failure": 1})
            await stage.ended(job_id)
            trace = await traced(stage, job_id)
        leases = {step.lease_key for step in trace.steps if step.lease_key}
        assert leases == {f"{job_id}-1", f"{job_id}-2"}
        # Each attempt ends before the next one begins.
        ends = [s.ended_at for s in trace.steps if s.lease_key == f"{job_id}-1" and s.ended_at]
        begins = [
            s.started_at
            for s in trace.steps
            if s.lease_key == f"{job_id}-2" and s.started_at and s.phase is not Phase.PLACE
        ]
        assert max(ends) <= min(begins)
        assert trace.steps[-1].phase is Phase.CLOSE
        assert "exited with 3" in trace.steps[-1].error

    async def test_no_network_takes_it(self, make_stage: StageMaker) -> None:
        stage = await make_stage(local=LOCAL)
        async with stage.worker():
            job_id = await stage.submit(
                **sh("true", placement={"timeout": "2s", "max_price": "0.0000001 USD"})
            )
            await stage.ended(job_id)
            trace = await traced(stage, job_id)
        place = next(step for step in trace.steps if step.phase is Phase.PLACE)
        assert place.state is StepState.FAILED
        assert "0.0000001 USD" in place.error
        assert place.tries
        assert place.tries >= 2
        assert {step.lease_key for step in trace.steps} == {None}


class TestGroup:
    async def test_why_nothing_was_committed(self, make_stage: StageMaker) -> None:
        stage = await make_stage(null=NULL)
        late = job("c", placement={"max_price": "0.000001 USD", "timeout": "1s"})
        async with stage.worker(), client_of(stage.settings) as http:
            group = await submit(stage, [job("a"), job("b"), late])
            assert await group.ended() == "failed"
            answer = await http.get(f"/api/v1/groups/{group.id}/trace")
        trace = Trace.model_validate_json(answer.content)
        assert (trace.kind, trace.state, trace.temporal) == ("group", "failed", "read")
        assert {participant.member: participant.state for participant in trace.participants} == {
            "a": "cancelled",
            "b": "cancelled",
            "c": "failed",
        }
        own = [step for step in trace.steps if step.job_id is None]
        verdict = next(step for step in own if step.phase is Phase.VERDICT)
        assert verdict.known.startswith("aborted")
        assert verdict.ended_at is not None
        of_a = {step.phase: step for step in trace.steps if step.member == "a"}
        assert of_a[Phase.COMMIT].state is StepState.SKIPPED
        assert of_a[Phase.INTEND].state is StepState.COMPENSATED
        assert of_a[Phase.RELEASE].state is StepState.DONE
        of_c = {step.phase: step for step in trace.steps if step.member == "c"}
        assert of_c[Phase.PLACE].state is StepState.FAILED
        assert "0.000001 USD" in of_c[Phase.PLACE].error
        starts = [step.started_at for step in trace.steps if step.started_at]
        assert starts == sorted(starts)
