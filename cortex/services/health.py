"""Health, probed in the background: asking for it costs nothing, however busy the server is."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cortex.schemas.server import Check, Health
from cortex.settings import Settings
from cortex.tasks import end_task
from cortex.temporal.contracts import TASK_QUEUE

_EVERY: Final = 1.5
_TIMEOUT: Final = 2.0
_OUTDATED: Final = 15.0

# A poll lasts up to a minute, and Temporal lists pollers for five minutes after their last one.
_POLLED_WITHIN: Final = timedelta(seconds=75)


class HealthProbe:
    """Asks database and Temporal every 1.5 s, over connections of its own."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._checks: tuple[Check, ...] = ()
        self._probed_at = float("-inf")
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()

    async def start(self) -> None:
        """Begin to probe."""
        self._task = asyncio.create_task(self._run(), name="health-probe")

    async def aclose(self) -> None:
        """Stop, and close the connection."""
        if self._task is not None:
            await end_task(self._task)
        await self._hang_up()

    async def health(self) -> Health:
        """What the last probe found; waits for the very first one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), 2 * _TIMEOUT)
        checks = self._checks
        if time.monotonic() - self._probed_at > _OUTDATED:
            checks = (*checks, Check(name="probe", ok=False, detail="the last probe is too old"))
        ok = bool(checks) and all(check.ok for check in checks)
        return Health(status="ok" if ok else "unavailable", checks=checks)

    @property
    def database_away(self) -> str | None:
        """What the last probe found wrong with the database; None if it answered."""
        return next((c.detail for c in self._checks if c.name == "database" and not c.ok), None)

    async def _run(self) -> None:
        while True:
            database, temporal = await asyncio.gather(self._database(), self._temporal())
            self._checks = (database, *temporal)
            self._probed_at = time.monotonic()
            self._first.set()
            await asyncio.sleep(_EVERY)

    async def _database(self) -> Check:
        try:
            async with asyncio.timeout(_TIMEOUT):
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._settings.database.url.get_secret_value(),
                        autocommit=True,
                        application_name="cortex-health",
                    )
                await self._connection.execute("SELECT 1")
        except TimeoutError:
            await self._hang_up()
            return Check(name="database", ok=False, detail="PostgreSQL does not answer in time")
        except (psycopg.Error, OSError) as error:
            await self._hang_up()
            return Check(name="database", ok=False, detail=f"PostgreSQL is away: {_first(error)}")
        return Check(name="database", ok=True)

    async def _temporal(self) -> tuple[Check, Check]:
        address = self._settings.temporal.address
        unknown = Check(name="workers", ok=False, detail="unknown while Temporal is away")
        try:
            async with asyncio.timeout(_TIMEOUT):
                workers = await self._workers()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                detail = f"namespace `{self._settings.temporal.namespace}` does not exist"
            else:
                detail = f"Temporal at {address} does not answer: {_first(error)}"
            return Check(name="temporal", ok=False, detail=detail), unknown
        except (TimeoutError, RuntimeError) as error:
            detail = f"Temporal at {address} does not answer"
            detail += f": {_first(error)}" if str(error) else " in time"
            return Check(name="temporal", ok=False, detail=detail), unknown
        return Check(name="temporal", ok=True), workers

    async def _workers(self) -> Check:
        answer = await self._client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=TaskQueue(name=TASK_QUEUE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=timedelta(seconds=_TIMEOUT),
        )
        oldest = datetime.now(UTC) - _POLLED_WITHIN
        live = {
            poller.identity
            for poller in answer.pollers
            if poller.last_access_time.ToDatetime(tzinfo=UTC) > oldest
        }
        if not live:
            detail = f"no worker polls the task queue `{TASK_QUEUE}`"
            return Check(name="workers", ok=False, detail=detail)
        return Check(name="workers", ok=True, detail=f"{len(live)} polling")

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


def _first(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
