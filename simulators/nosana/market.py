"""What goes on in the network by itself: jobs are posted, queued, run, ended, paid."""

import asyncio
from datetime import timedelta
from typing import Any

from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.nosana import nodes
from simulators.nosana.state import Deployment, Market, Run, Store, address

_POSTING = timedelta(milliseconds=100)
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
        tasks = [*self._stopping.values(), *filter(None, [self._ticking])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
            if deployment.status in ("STARTING", "RUNNING", "STOPPING"):
                await self._advance(deployment)
        if self._changed:
            self.save()

    def begin(self, deployment: Deployment) -> None:
        """The account has said `start`."""
        self._set(deployment, "STARTING")
        deployment.started_at = self._clock.now()

    def stop(self, deployment: Deployment) -> None:
        """The account has said `stop`."""
        self._set(deployment, "STOPPING")

    async def end(self, run: Run, fate: str) -> None:
        """Something ends a run from outside: `host_shut_down`, `expired`, `node_gone`."""
        await self._runs.stop(run.id)
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
        runs = self.books.of(deployment.id)
        if deployment.status == "STARTING" and not runs:
            self._post(deployment)
            return
        for run in runs:
            if deployment.status == "STOPPING" and not run.final:
                self._stop_run(run)
            elif run.state == "QUEUED":
                await self._take(run, deployment)
            elif run.state == "RUNNING":
                await self._watch(run, deployment)
        if all(run.final for run in self.books.of(deployment.id)):
            self._set(deployment, "STOPPED")

    def _post(self, deployment: Deployment) -> None:
        """List the job on the chain, if the account can pay for it."""
        assert deployment.started_at is not None
        if self._clock.now() - deployment.started_at < _POSTING:
            return
        hourly = self.markets[deployment.market].hourly()
        if self.books.available(self.now) < hourly * deployment.timeout / 60:
            self._set(deployment, "INSUFFICIENT_FUNDS")
            return
        run = Run(
            id=address("run", deployment.id),
            deployment=deployment.id,
            market=deployment.market,
            hourly=hourly,
            listed_at=self._clock.now(),
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
        if not await nodes.begin(self._runs, run, deployment.definition):
            run.time_end = self.next_block
            self._store.put_result(run.id, nodes.not_pulled(run, deployment.definition))
            run.state, run.has_result = "COMPLETED", True

    async def _watch(self, run: Run, deployment: Deployment) -> None:
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
        await self._runs.stop(run.id)
        async with self.lock:
            if not run.final:
                await self._ended(run, "stopped")
                self.save()
        self._stopping.pop(run.id, None)

    async def _ended(self, run: Run, fate: str) -> None:
        if run.final:
            return
        self._changed = True
        run.fate = fate
        run.time_end = self.next_block
        if fate != "node_gone":
            definition = self.books.deployments[run.deployment].definition
            self._store.put_result(run.id, await nodes.result(self._runs, run, definition))
            run.has_result = True
        run.state = "COMPLETED" if fate in ("", "host_shut_down", "expired") else "STOPPED"

    def _set(self, deployment: Deployment, status: Any) -> None:
        self._changed = True
        deployment.status = status
        deployment.updated_at = self._clock.now()
