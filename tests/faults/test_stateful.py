"""The real steps of a job, on a real database, in any order of what may happen to it.

Hypothesis chooses the order: a step, a worker that dies or stalls at a boundary, a database that is
away, an answer that is lost, a cancel, more time, the monitor, reconcile, a network that loses the
lease. The promise holds after each of them; what breaks it is printed as calls that replay it.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import structlog
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from activities.jobs.settlement import SettlementActivities
from cortex.db.engine import Database
from cortex.domain.errors import Conflict, JobAlreadyEnded
from cortex.domain.money import Money
from cortex.domain.states import CANCELLABLE_JOB_STATES, TERMINAL_JOB_STATES, JobState, LeaseState
from cortex.settings import DatabaseSettings, JobSettings, ReconcileSettings, Settings
from providers.null import NullConfig
from tests.faults.boundaries import Fault, Kind
from tests.faults.one_network import Network
from tests.faults.promise import check_promise, rows
from tests.faults.report import Row, full, record
from tests.faults.stepped import Stepped

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
T = TypeVar("T")

_BOUNDARY = st.integers(min_value=0, max_value=16)
_RUNS = st.sampled_from(
    [NullConfig(run_seconds=-1), NullConfig(run_seconds=-1), NullConfig(), NullConfig(exit_code=3)]
)
_QUICK, _FULL = (8, 12), (300, 30)
"""Examples, and moves in each."""


class JobMachine(RuleBasedStateMachine):
    """One job, and everything that may happen to it."""

    runner: ClassVar[asyncio.Runner]
    database: ClassVar[Database]
    options: ClassVar[Settings]
    moves: ClassVar[int] = 0
    struck: ClassVar[int] = 0
    jobs: ClassVar[int] = 0

    job: Stepped
    network: Network

    @initialize(
        config=_RUNS,
        retries=st.integers(0, 1),
        on_lost=st.integers(0, 2),
        auto=st.booleans(),
        one_step=st.booleans(),
    )
    def accept(
        self, config: NullConfig, retries: int, on_lost: int, *, auto: bool, one_step: bool
    ) -> None:
        type(self).jobs += 1
        self.network = Network("null", config)
        spec = {"auto_extend": {"by": "30m", "up_to": "2h"}} if auto else {}
        self.job = Stepped(
            self.database,
            self.network,
            self.options,
            Fault(),
            retries=retries,
            on_lost=on_lost,
            one_step=one_step,
            spec=spec,
        )
        self._run(self.job.begin())

    @precondition(lambda self: not self.job.ended)
    @rule()
    def step(self) -> None:
        self._let(Fault())

    @precondition(lambda self: self.job.at not in ("watch", "end"))
    @rule(kind=st.sampled_from(["crash", "cancelled", "database", "stall"]), at=_BOUNDARY)
    def fault(self, kind: Kind, at: int) -> None:
        self._let(Fault(kind, at))

    @precondition(lambda self: self.job.at in ("prepare", "commit", "acquire"))
    @rule(call=st.sampled_from(["prepare", "commit"]))
    def answer_lost(self, call: str) -> None:
        call = call if self.job.at == "acquire" else self.job.at
        self._let(Fault("unknown", where=f"after {call}()"))

    @precondition(lambda self: bool(self.job.stalled))
    @rule()
    def stalled_worker_goes_on(self) -> None:
        self._run(self.job.resume())

    @rule()
    def cancel(self) -> None:
        self._run(self.job.cancel())

    @rule(cents=st.integers(0, 1))
    def settle_by_hand(self, cents: int) -> None:
        self._run(self.job.settle_by_hand(Money.model_validate(f"0.0{cents} USD")))

    @rule(minutes=st.integers(1, 90))
    def extend(self, minutes: int) -> None:
        before = self._run(self.job.job())
        by = timedelta(minutes=minutes)
        if before.state in CANCELLABLE_JOB_STATES:
            after = self._run(self.job.extend(by))
            assert after.extension - before.extension == by
            return
        expected = Conflict if before.state is JobState.CANCELLING else JobAlreadyEnded
        with pytest.raises(expected):
            self._run(self.job.extend(by))

    @precondition(lambda self: self.job.at == "watch")
    @rule()
    def deadline_is_near(self) -> None:
        job, lease = self._run(self.job.job()), self._run(self.job.lease())
        if job.deadline_at is None or lease is None:
            return
        for _ in range(2):  # a try that follows another changes nothing
            self._run(self.job.warn(lease, job))
        query = "SELECT type FROM events WHERE job_id = :job AND data->>'deadline_at' = :at"
        after = self._run(self.job.job())
        told = [job.deadline_at, after.deadline_at] if after.deadline_at else [job.deadline_at]
        for at in {deadline.isoformat() for deadline in told}:
            run = self._run(rows(self.database, query.replace(":at", f"'{at}'"), job.id))
            kinds = [row["type"] for row in run]
            assert kinds.count("job.deadline.near") <= 1, kinds

    @precondition(lambda self: self.job.at == "watch")
    @rule()
    def deadline_passes(self) -> None:
        self.job.expired = True

    @precondition(lambda self: self.job.lease_key is not None)
    @rule()
    def monitor_passes(self) -> None:
        self._run(self.job.record(self.job.lease_key or ""))

    @precondition(lambda self: self.job.at == "watch")
    @rule()
    def network_loses_it(self) -> None:
        self._run(self.network.lose(self.job.lease_key or ""))

    @precondition(lambda self: self.job.at == "watch")
    @rule(code=st.sampled_from([0, 3]))
    def command_exits(self, code: int) -> None:
        self._run(self.network.exits(self.job.lease_key or "", code))

    @rule()
    def reconcile_passes(self) -> None:
        before = self._run(self.job.lease())
        alive = self._alive()
        self._run(self.job.reconcile())
        if before is not None and before.state is not LeaseState.RELEASED:
            assert self._alive() == alive, "reconcile has closed what a lease stands for"

    @invariant()
    def nothing_is_done_twice(self) -> None:
        starts = getattr(self.network, "starts", {})
        assert all(count == 1 for count in starts.values()), starts
        query = (
            "SELECT l.key, l.state, l.committed_at IS NOT NULL AS live, "
            "(SELECT count(*) FROM ledger e WHERE e.lease_key = l.key AND e.kind = 'charge') "
            "AS charges FROM leases l WHERE l.job_id = :job"
        )
        run = self._run(rows(self.database, query, self.job.job_id))
        for row in run:
            by_hand = self.job.decided.get(row["key"])
            billed = row["live"] or (by_hand is not None and bool(by_hand.amount))
            assert row["charges"] <= billed, row
            if row["state"] == "released":
                assert row["charges"] == billed, row
        assert sum(row["state"] != "released" for row in run) <= 1, run

    @invariant()
    def an_end_is_the_end(self) -> None:
        job = self._run(self.job.job())
        if job.state.terminal and not self.job.stalled:
            lease = self._run(self.job.lease())
            assert lease is None or lease.state is LeaseState.RELEASED

    def teardown(self) -> None:
        if not hasattr(self, "job"):
            return
        self._run(self._to_the_end())
        self._run(check_promise(self.job, TERMINAL_JOB_STATES))

    async def _to_the_end(self) -> None:
        for _ in range(60):
            if self.job.ended:
                break
            if self.job.at == "watch":
                await self.network.exits(self.job.lease_key or "", 0)
                await self.job.record(self.job.lease_key or "")
            await self.job.let()
        assert self.job.ended, f"no end: it is at `{self.job.at}`"
        await self.job.resume()
        for _ in range(2):  # seen once, closed after its grace
            await self.job.reconcile()

    def _let(self, fault: Fault) -> None:
        what = self.job.at
        self._run(self.job.let(fault))
        if fault.fired:
            type(self).struck += 1
            note(f"{fault.kind} in `{what}` {fault.fired}")

    def _alive(self) -> list[str]:
        return sorted(ref.key for ref in self._run(self.network.owned()))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        type(self).moves += 1
        return self.runner.run(work)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Expected faults are not worth a trace each."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@contextmanager
def machine(database_url: str, folder: Path) -> Iterator[None]:
    """What all runs of the machine share."""
    JobMachine.options = Settings(
        data_dir=folder,
        jobs=JobSettings(quote_timeout=timedelta(seconds=2)),
        reconcile=ReconcileSettings(grace=timedelta(0)),
    )
    JobMachine.moves = JobMachine.struck = JobMachine.jobs = 0
    with asyncio.Runner() as runner:
        JobMachine.runner = runner
        JobMachine.database = Database(DatabaseSettings(url=SecretStr(database_url)))
        try:
            yield
        finally:
            runner.run(JobMachine.database.aclose())


def run_machine(examples: int, moves: int, *, shrink: bool = True) -> None:
    """Always the same orders, so that what fails once fails again."""
    run_state_machine_as_test(
        JobMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=moves,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.usefixtures("quiet")
class TestAnyOrder:
    def test_the_promise_holds(self, database_url: str, tmp_path: Path) -> None:
        began = time.monotonic()
        with machine(database_url, tmp_path):
            run_machine(*(_FULL if full() else _QUICK))
        assert JobMachine.struck, "no fault has struck"
        record(
            Row(
                part="model",
                scenario=f"real steps in any order: {JobMachine.moves:,} moves",
                faults=JobMachine.struck,
                jobs=JobMachine.jobs,
                seconds=time.monotonic() - began,
            )
        )

    def test_a_broken_step_is_found_and_told_how_to_replay(
        self, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A settlement that books nothing: the moves that show it are printed."""

        async def forgets(*_: object) -> None:
            return

        monkeypatch.setattr(SettlementActivities, "_release", forgets)
        with machine(database_url, tmp_path), pytest.raises(AssertionError) as caught:
            run_machine(5, 25, shrink=False)
        told = "\n".join(getattr(caught.value, "__notes__", []))
        assert "state = JobMachine()" in told
        assert "state.accept(" in told
