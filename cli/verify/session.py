"""One verification from the account to the last bill, all of it over the API.

The two jobs are ordinary ones: whatever becomes of this process, they end by their deadline, are
released and billed once. This only watches, and ends them early.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cli.verify import checks, gates
from cli.verify.checks import Observed
from cli.verify.gates import CouldNotRun, Estimate
from cli.verify.model import Result, Step
from cli.verify.trial import LABEL, Plan, Run
from cortex.client import ApiError, AsyncCortex, ClientError
from cortex.domain.providers.inspection import CallTally, HeldLease, Inspection
from cortex.domain.states import JobState
from cortex.schemas.events import EventView
from cortex.schemas.jobs import JobView
from cortex.schemas.providers import ProviderTestResult, ProviderView

_LISTED_WITHIN = 45.0
_SLACK = timedelta(minutes=2)


class Session:
    """Runs the steps, and keeps what was seen.

    Args:
        cortex: The client.
        tell: Takes each step as soon as it is judged.
        watch: Takes each event of the jobs as it comes.
    """

    def __init__(
        self,
        cortex: AsyncCortex,
        *,
        tell: Callable[[Step], None],
        watch: Callable[[EventView], None],
    ) -> None:
        self._cortex = cortex
        self._tell = tell
        self._watch = watch
        self.began = datetime.now(UTC)
        self.steps: list[Step] = []
        self.seen: list[Observed] = []
        self.held: list[HeldLease] = []
        self.calls: dict[str, tuple[CallTally, ...]] = {}
        self.notes: list[str] = []
        self.view: ProviderView | None = None
        self.network: ProviderTestResult | None = None
        self.inspection: Inspection | None = None
        self._jobs: dict[Run, str] = {}
        self._cancelled: dict[Run, datetime] = {}

    async def look(self, provider_id: str) -> Inspection:
        """The provider, its account, and what it is tried with. Buys nothing.

        Raises:
            CouldNotRun: it cannot be used now; says why and what to do.
        """
        try:
            self.view = await self._cortex.provider(provider_id)
        except ApiError as error:
            if error.status != 404:
                raise
            raise CouldNotRun(
                "account", error.detail, "`cortex providers` lists those that there are"
            ) from None
        gates.usable(self.view)
        step, self.network = await gates.account(self._cortex, self.view)
        try:
            self.inspection = await self._inspect([])
        except ApiError as error:
            raise CouldNotRun("account", error.detail) from None
        self.add(step)
        await gates.nothing_else_runs(self._cortex, provider_id)
        trial = self.inspection.trial
        if trial.no_run:
            raise CouldNotRun(
                "offer",
                f"it cannot be verified so: {trial.no_run}",
                "submit a job of that kind instead (docs/providers has an example)",
                "a provider that runs commands",
            )
        self._note_others(self.inspection)
        return self.inspection

    async def price(self, plan: Plan) -> Estimate:
        """The cheapest offer within the budget. Buys nothing.

        Raises:
            CouldNotRun: there is none.
        """
        estimate = await gates.estimate(self._cortex, plan)
        gates.enough_money(self.network.balance if self.network else None, estimate)
        self.add(gates.offer_step(estimate, plan))
        return estimate

    async def run(self, plan: Plan, estimate: Estimate) -> None:
        """Both jobs, and what became of them."""
        plan = replace(plan, outputs=estimate.outputs)
        can_log = bool(self.view and self.view.capabilities and self.view.capabilities.logs)
        command = await self._one("command", plan)
        placed = checks.placing_steps(command)
        self.add(*placed)
        if placed[-1].result is Result.OK:
            self.add(
                checks.log_step(command, plan, can=can_log),
                checks.exit_step(command),
                checks.output_step(command, plan, estimate.why_no_outputs),
            )
        if command.committed:
            self.add(checks.bill_step("bill", command, plan))
        if placed[-1].result is Result.OK:
            await self._stop(plan)
        await self.finish()

    async def _stop(self, plan: Plan) -> None:
        """The second job. By now something was bought: a refusal is a difference."""
        try:
            stop = await self._one("stop", plan)
        except CouldNotRun as refused:
            different = {"name": "stop", "result": Result.DIFFERENT}
            self.add(refused.step.model_copy(update=different))
            return
        self.add(checks.stop_step(stop, plan), checks.bill_step("bill after stop", stop, plan))

    async def finish(self) -> None:
        """What is left, and what went wrong on the way."""
        self.add(await self._left(), checks.trouble_step(self.seen))
        await self._take_calls()

    async def abandon(self, reason: str) -> None:
        """End what runs, and wait until it is released."""
        for run, job_id in self._jobs.items():
            job = await self._cortex.job(job_id)
            if not job.state.terminal:
                await self._cancel(run, job_id, reason)
                await self._cortex.wait(job_id)
            await self._take(run, job_id)
        if self._jobs:
            self.add(await self._left())
            await self._take_calls()

    async def refresh(self) -> None:
        """See how the jobs are by now, as far as that can be told."""
        for run, job_id in self._jobs.items():
            try:
                await self._take(run, job_id)
            except ClientError:
                return

    @property
    def jobs(self) -> list[str]:
        """The ids of its jobs."""
        return list(self._jobs.values())

    def add(self, *steps: Step) -> None:
        """Keep judged steps, and tell them."""
        for step in steps:
            self.steps.append(step)
            self._tell(step)

    async def _one(self, run: Run, plan: Plan) -> Observed:
        """Submit a job, follow it to its end, and take what there is to see of it."""
        job = await self._submit(run, plan)
        await self._follow(run, job, plan)
        return await self._take(run, job.id)

    async def _submit(self, run: Run, plan: Plan) -> JobView:
        # The id is the key: asked twice, it is one job all the same.
        call = self._cortex.submit(plan.spec(run), idempotency_key=f"{LABEL}-{plan.id}-{run}")
        sending = asyncio.ensure_future(call)
        try:
            job = await asyncio.shield(sending)
        except asyncio.CancelledError:
            # Ctrl-C must not lose a job that is accepted: it has to be cancelled.
            self._jobs[run] = (await sending).id
            raise
        except ApiError as error:
            if error.status >= 500 or error.status in (401, 403):
                raise
            raise CouldNotRun("reserve", error.detail, expected="the job is accepted") from None
        self._jobs[run] = job.id
        return job

    async def _follow(self, run: Run, job: JobView, plan: Plan) -> None:
        async for event in self._cortex.events(job.id, follow=True):
            self._watch(event)
            if run == "stop" and event.data.get("state") == JobState.RUNNING:
                await self._cancel(run, job.id, "the verification ends it")
        # The deadline ends the command; what comes after it has limits of its own.
        limit = 2 * plan.duration + plan.trial.stop_within + _SLACK
        await self._cortex.wait(job.id, timeout=limit.total_seconds())

    async def _cancel(self, run: Run, job_id: str, reason: str) -> None:
        if run in self._cancelled:
            return
        self._cancelled[run] = datetime.now(UTC)
        try:
            await self._cortex.cancel(job_id, reason=reason)
        except ApiError as error:
            if error.status != 409:
                raise
            del self._cancelled[run]  # it has ended meanwhile

    async def _take(self, run: Run, job_id: str) -> Observed:
        """Everything that the API tells of a job now."""
        observed = Observed(
            run=run,
            job=await self._cortex.job(job_id),
            events=[event async for event in self._cortex.events(job_id)],
            lines=[line async for line in self._cortex.logs(job_id)],
            outputs=await self._cortex.outputs(job_id),
            ledger=[entry async for entry in self._cortex.iter_ledger(job_id)],
            cancelled_at=self._cancelled.get(run),
        )
        self.seen = [earlier for earlier in self.seen if earlier.run != run] + [observed]
        return observed

    async def _left(self) -> Step:
        """Ask the network until it lists nothing of ours: lists may be behind for a while."""
        keys = self._keys()
        until = asyncio.get_running_loop().time() + _LISTED_WITHIN
        while True:
            try:
                self.held = list((await self._inspect(keys)).leases)
                findings = await self._findings(keys)
            except ApiError as error:
                return checks.left_step(keys, [], [], asked=error.detail)
            step = checks.left_step(keys, self.held, findings)
            if step.result is Result.OK or asyncio.get_running_loop().time() > until:
                return step
            await asyncio.sleep(2)

    async def _findings(self, keys: Sequence[str]) -> list[str]:
        """What reconcile says about these leases; nothing is changed by it."""
        if self.view is None or not keys:
            return []
        report = await self._cortex.reconcile(self.view.id, dry_run=True)
        return [
            finding.message
            for scope in report.scopes
            for finding in scope.findings
            if finding.subject in keys
        ]

    async def _inspect(self, keys: Sequence[str]) -> Inspection:
        if self.view is None:
            raise RuntimeError("there is no provider yet")
        return await self._cortex.inspect_provider(self.view.id, after=self.began, keys=keys)

    async def _take_calls(self) -> None:
        """The calls of the worker that answers; another one may have made the rest."""
        try:
            inspection = await self._inspect(self._keys())
        except ApiError as error:
            self.notes.append(f"the calls to the network cannot be told: {error.detail}")
            return
        self.inspection = inspection
        self.calls[inspection.worker] = inspection.calls
        if inspection.recording_since > self.began:
            self.notes.append(
                "the record of calls is not whole: the worker, or its configuration of this "
                "provider, is newer than this verification"
            )
        steps = {call.step for call in inspection.calls}
        if self.seen and not steps & {"prepare", "commit", "submit"}:
            self.notes.append("the record of calls is not whole: another worker made some of them")

    def _keys(self) -> list[str]:
        return [lease.key for observed in self.seen for lease in observed.job.leases]

    def _note_others(self, inspection: Inspection) -> None:
        live = [
            lease for lease in inspection.leases if not (lease.run_state and lease.run_state.final)
        ]
        if live:
            foreign = sum(lease.lease_state is None for lease in live)
            other = f", {foreign} of them not leased by this Cortex" if foreign else ""
            self.notes.append(f"before it began, the network held {len(live)} leases{other}")
