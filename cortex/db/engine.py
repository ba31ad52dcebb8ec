"""The connection pool and the unit of work: one transaction with its repositories."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from psycopg_pool import PoolTimeout
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cortex import faultpoints
from cortex.db.boundaries import bounded, watch_writes
from cortex.db.groups.accept import GroupAcceptanceRepository
from cortex.db.groups.repository import GroupRepository
from cortex.db.groups.views import GroupReadRepository
from cortex.db.jobs.accept import AcceptanceRepository
from cortex.db.jobs.frames import FrameRepository
from cortex.db.jobs.leases import LeaseRepository
from cortex.db.jobs.lifecycle import StepRepository
from cortex.db.jobs.logs import LogRepository
from cortex.db.jobs.outputs import OutputRepository
from cortex.db.jobs.repository import JobRepository
from cortex.db.jobs.stuck import StuckRepository
from cortex.db.jobs.views import ReadRepository
from cortex.db.money.budgets import BudgetRepository
from cortex.db.money.ledger import LedgerRepository
from cortex.db.money.reports import ReportRepository
from cortex.db.money.reserves import ReserveRepository
from cortex.db.money.spending import SpendingRepository
from cortex.db.outbox.audit import AuditRepository
from cortex.db.outbox.commands import CommandRepository
from cortex.db.outbox.events import EventRepository
from cortex.db.outbox.idempotency import IdempotencyRepository
from cortex.db.plugins import PluginRepository
from cortex.db.providers.circuits import CircuitRepository
from cortex.db.providers.managed import ManagedProviderRepository
from cortex.db.providers.repository import ProviderRepository
from cortex.db.providers.track import TrackRepository
from cortex.db.reconcile.findings import FindingRepository
from cortex.db.reconcile.survey import SurveyRepository
from cortex.db.trace import TraceRepository
from cortex.domain.errors import DatabaseUnavailable
from cortex.settings import DatabaseSettings

# SQLSTATE classes that mean "away or out of resources now", not "wrong statement"; a standby before
# its promotion is read-only (25006), an idle transaction is ended (25P03).
_AWAY = ("08", "53", "57", "58", "25006", "25P03")


class Transaction:
    """The repositories of one open transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.jobs = JobRepository(connection)
        self.leases = LeaseRepository(connection)
        self.ledger = LedgerRepository(connection)
        self.events = EventRepository(connection)
        self.commands = CommandRepository(connection)
        self.idempotency = IdempotencyRepository(connection)
        self.logs = LogRepository(connection)
        self.outputs = OutputRepository(connection)
        self.frames = FrameRepository(connection)
        self.providers = ProviderRepository(connection)
        self.managed = ManagedProviderRepository(connection)
        self.circuits = CircuitRepository(connection)
        self.audit = AuditRepository(connection)
        self.budgets = BudgetRepository(connection)
        self.reserves = ReserveRepository(connection)
        self.reports = ReportRepository(connection)
        self.spending = SpendingRepository(connection)
        self.reads = ReadRepository(connection)
        self.acceptance = AcceptanceRepository(connection)
        self.group_acceptance = GroupAcceptanceRepository(connection)
        self.group_reads = GroupReadRepository(connection)
        self.groups = GroupRepository(connection)
        self.steps = StepRepository(connection)
        self.stuck = StuckRepository(connection)
        self.trace = TraceRepository(connection)
        self.track = TrackRepository(connection)
        self.plugins = PluginRepository(connection)
        self.findings = FindingRepository(connection)
        self.survey = SurveyRepository(connection)


class Database:
    """Hands out transactions. Open one per process; close it at the end."""

    def __init__(self, settings: DatabaseSettings, *, application: str = "cortex") -> None:
        self.settings = settings
        self.engine: AsyncEngine = create_async_engine(
            make_url(settings.url.get_secret_value()).set(drivername="postgresql+psycopg"),
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.timeout.total_seconds(),
            pool_recycle=1800,
            connect_args={
                "connect_timeout": max(2, int(settings.timeout.total_seconds())),
                "application_name": application,
                "options": "-c timezone=UTC -c statement_timeout=60000"
                " -c idle_in_transaction_session_timeout=60000",
            },
        )
        if faultpoints.active is not None:
            watch_writes(self.engine)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end, rolls back on any exception.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be reached, or broke off.
        """
        opening: AbstractAsyncContextManager[Transaction] = self._open(self.engine.begin())
        if faultpoints.active is not None:
            opening = bounded(opening)
        async with opening as tx:
            yield tx

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """Every statement stands alone: for reads that need no common snapshot.

        Two round trips cheaper than a transaction. What writes may be no more than one statement.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be reached, or broke off.
        """
        async with self._open(self._autocommit.connect()) as tx:
            yield tx

    @asynccontextmanager
    async def _open(
        self, opening: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncIterator[Transaction]:
        try:
            async with opening as connection:
                yield Transaction(connection)
        except (OperationalError, InterfaceError, PoolTimeout, PoolExhausted) as error:
            raise _unavailable(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or _sqlstate(error).startswith(_AWAY):
                raise _unavailable(error) from error
            raise

    async def ping(self) -> None:
        """Raises `DatabaseUnavailable` if PostgreSQL does not answer."""
        async with self.reading() as tx:
            await tx.connection.execute(text("SELECT 1"))

    async def aclose(self) -> None:
        await self.engine.dispose()


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _unavailable(error: Exception) -> DatabaseUnavailable:
    cause = getattr(error, "orig", None) or error
    first = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    return DatabaseUnavailable(f"PostgreSQL does not answer: {first[:300]}")
