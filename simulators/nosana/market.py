"""What goes on in the network by itself: jobs are posted, queued, run, ended, paid."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cortex.tasks import end_tasks
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.nosana import nodes
from simulators.nosana.definitions import operations
from simulators.nosana.state import Deployment, Market, Run, Store, address

_NOTICED = timedelta(milliseconds=50)
_POSTING = timedelta(milliseconds=100)
# The real one tries again after ten minutes, later after up to six hours.
_AGAIN = timedelta(seconds=1)
_TICK = 0.1


class Network:
    """The books, and the time that moves them on."""

    def __init__(self, store: Store, clock: Clock, runs: Runs, markets: list[Market]) -> None:
        self.books = store.load()
        self.markets = {market.address: market for market in markets}
        self.lock = asyncio.Lock()
        self._store = store
        self._clock = clock
        self._runs = runs
        self._ticking: asyncio.Task[None] | None = None
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._changed = False

    async def start(self) -> None:
        self._ticking = asyncio.create_task(self._tick(), name="nosana-simulator")

    async def aclose(self) -> None:
        await end_tasks([*self._stopping.values(), *filter(None, [self._ticking])])

    @property
    def now(self) -> int:
        """The network's clock, in whole seconds."""
        return int(self._clock.now().timestamp())

    @property
    def next_block(self) -> int:
        """When an end that is told now stands on the chain: the next whole second."""
        return self.now + 1

    def save(self) -> None:
        self._changed = False
        self._store.save(self.books)

    def result(self, run: Run) -> dict[str, Any] | None:
        return self._store.result(run.id) if run.has_result else None

    async def advance(self) -> None:
        """Let happen what is due. The lock is held by the caller."""
        for deployment in list(self.books.deployments.values()):
            if deployment.status not in ("DRAFT", "STOPPED"):
                await self._advance(deployment)
        if self._changed:
            self.save()

    def begin(self, deployment: Deployment) -> None:
        """The account has said `start`."""
        deployment.due_at = None
        self._set(deployment, "STARTING")

    def stop(self, deployment: Deployment) -> None:
        """The account has said `stop`: no job is posted any more."""
        deployment.due_at = None
        self._set(deployment, "STOPPING")

    def archive_all(self) -> None:
        """What a negative balance does to every deployment of the account."""
        for deployment in self.books.live():
            deployment.due_at = None
            self._set(deployment, "ARCHIVED")

    async def end(self, run: Run, fate: str) -> None:
        """Something ends a run from outside: `host_shut_down`, `expired`, `node_gone`."""
        await self._end_container(run)
        await self._ended(run, fate)

    async def remove(self, deployment: Deployment) -> None:
        """The account has deleted it: what is charged stays charged."""
        deployment.deleted = True
        for run in self.books.of(deployment.id):
            await self._runs.remove(run.id)

    async def _tick(self) -> None:
        while True:
            async with self.lock:
                await self.advance()
            await asyncio.sleep(_TICK)

    async def _advance(self, deployment: Deployment) -> None:
        now = self._clock.now()
        if deployment.status == "STARTING" and now - deployment.updated_at >= _NOTICED:
            deployment.due_at = now + _POSTING
            self._set(deployment, "RUNNING")  # before there is any job
        if deployment.due_at is not None and now >= deployment.due_at:
            self._post(deployment, now)
        for run in self.books.of(deployment.id):
            if deployment.status in ("STOPPING", "ARCHIVED") and not run.final:
                self._stop_run(run)
            elif run.state == "QUEUED":
                await self._take(run, deployment)
            elif run.state == "RUNNING":
                await self._watch(run, deployment)
        if deployment.status in ("RUNNING", "STOPPING") and not self._more_to_come(deployment):
            self._set(deployment, "STOPPED")

    def _more_to_come(self, deployment: Deployment) -> bool:
        noticed = self._clock.now() - deployment.updated_at >= _NOTICED
        runs = self.books.of(deployment.id)
        return deployment.due_at is not None or not noticed or not all(run.final for run in runs)

    def _post(self, deployment: Deployment, now: datetime) -> None:
        """List the job on the chain, if the account can pay for it; if not, try again later."""
        deployment.due_at = None
        market = self.markets.get(deployment.market)
        if market is None:
            self._set(deployment, "ERROR")
            return
        cost = market.hourly() * Decimal(deployment.timeout) / 60
        if self.books.available(self.now) < cost:
            deployment.due_at = now + _AGAIN
            self._set(deployment, "INSUFFICIENT_FUNDS")
            return
        number = len(self.books.of(deployment.id))
        run = Run(
            id=address("run", deployment.id, number),
            deployment=deployment.id,
            market=deployment.market,
            hourly=market.hourly(),
            listed_at=now,
        )
        self.books.runs[run.id] = run
        self._set(deployment, "RUNNING")

    async def _take(self, run: Run, deployment: Deployment) -> None:
        """A free node takes it from the queue."""
        busy = [
            r for r in self.books.runs.values() if r.market == run.market and r.state == "RUNNING"
        ]
        if self.books.offline or len(busy) >= self.markets[run.market].nodes:
            return
        self._changed = True
        run.node = address("node", run.market, len(busy))
        run.time_start = self.now
        run.state = "RUNNING"
        run.stage = self.books.held_at or "container"
        if run.stage == "container":
            await self._begin(run, deployment)

    async def _begin(self, run: Run, deployment: Deployment) -> None:
        if not operations(deployment.definition):
            run.time_end, run.state = self.next_block, "COMPLETED"
            return
        trouble = await nodes.begin(self._runs, run, deployment.definition)
        if trouble is not None:
            run.time_end = self.next_block
            self._hand_over(run, nodes.not_started(run, deployment.definition, trouble))
            run.state = "COMPLETED"

    async def _watch(self, run: Run, deployment: Deployment) -> None:
        if run.stage != "container":
            if self.books.held_at is None:
                self._changed, run.stage = True, "container"
                await self._begin(run, deployment)
            return
        view = await self._runs.state(run.id)
        if view is None or view.state in ("exited", "lost"):
            await self._ended(run, "" if view and view.state == "exited" else "host_shut_down")
        elif self.now - run.time_start > deployment.timeout * 60:
            await self.end(run, "expired")

    def _stop_run(self, run: Run) -> None:
        """The chain is told at once; the node ends the container in its own time."""
        if run.state == "QUEUED":
            run.state = "STOPPED"
            self._changed = True
        elif run.id not in self._stopping:
            self._stopping[run.id] = asyncio.create_task(self._stop_on_node(run))

    async def _stop_on_node(self, run: Run) -> None:
        await self._end_container(run)
        async with self.lock:
            if not run.final:
                await self._ended(run, "stopped")
                self.save()
        self._stopping.pop(run.id, None)

    async def _end_container(self, run: Run) -> None:
        if run.stage == "container":
            run.heard = len(await self._runs.lines(run.id))
            await self._runs.stop(run.id)

    async def _ended(self, run: Run, fate: str) -> None:
        if run.final:
            return
        self._changed = True
        run.fate = fate
        run.time_end = self.next_block
        if fate != "node_gone":
            definition = self.books.deployments[run.deployment].definition
            self._hand_over(run, await nodes.result(self._runs, run, definition))
        run.state = "STOPPED" if fate == "stopped" else "COMPLETED"

    def _hand_over(self, run: Run, result: dict[str, Any]) -> None:
        """A result that is too long is lost."""
        if nodes.postable(result):
            self._store.put_result(run.id, result)
            run.has_result = True

    def _set(self, deployment: Deployment, status: Any) -> None:
        self._changed = True
        if deployment.status != status:
            deployment.status = status
            deployment.updated_at = self._clock.now()
