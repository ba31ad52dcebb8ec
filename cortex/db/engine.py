"""The connection pool and the unit of work: one transaction with its repositories."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic

from psycopg_pool import PoolTimeout
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cortex import faultpoints
from cortex.db import session_options
from cortex.db.accounts import AccountRepository
from cortex.db.audit import AuditRepository
from cortex.db.base import Access, Reads, Transacts, Writes
from cortex.db.boundaries import bounded, watch_writes
from cortex.db.devices import DeviceRepository
from cortex.db.filters import SavedFilterRepository
from cortex.db.groups.accept import GroupAcceptanceRepository
from cortex.db.groups.repository import GroupRepository
from cortex.db.groups.views import GroupReadRepository
from cortex.db.jobs.accept import AcceptanceRepository
from cortex.db.jobs.bulk import BulkRepository
from cortex.db.jobs.frames import FrameRepository
from cortex.db.jobs.leases import LeaseRepository
from cortex.db.jobs.lifecycle import StepRepository
from cortex.db.jobs.logs import LogRepository
from cortex.db.jobs.metrics import MetricRepository
from cortex.db.jobs.outputs import OutputRepository
from cortex.db.jobs.repository import JobRepository
from cortex.db.jobs.stuck import StuckRepository
from cortex.db.jobs.views import ReadRepository
from cortex.db.links import LinkRepository
from cortex.db.logins import LoginRepository
from cortex.db.messages import MessageRepository
from cortex.db.money.budgets import BudgetRepository
from cortex.db.money.ledger import LedgerRepository
from cortex.db.money.reports import ReportRepository
from cortex.db.money.reserves import ReserveRepository
from cortex.db.money.spending import SpendingRepository
from cortex.db.named_secrets import NamedSecretRepository
from cortex.db.notices.happenings import NoticeRepository
from cortex.db.notices.preferences import PreferenceRepository
from cortex.db.opening import Opener
from cortex.db.outbox.commands import CommandRepository
from cortex.db.outbox.events import EventRepository
from cortex.db.outbox.idempotency import IdempotencyRepository
from cortex.db.passkeys import PasskeyRepository
from cortex.db.plugins import PluginRepository
from cortex.db.projects import ProjectRepository
from cortex.db.providers.circuits import CircuitRepository
from cortex.db.providers.managed import ManagedProviderRepository
from cortex.db.providers.repository import ProviderRepository
from cortex.db.providers.track import TrackRepository
from cortex.db.reconcile.findings import FindingRepository
from cortex.db.reconcile.survey import SurveyRepository
from cortex.db.runtime_settings import RuntimeSettingsRepository
from cortex.db.schedules import ScheduleRepository
from cortex.db.second_factors import SecondFactorRepository
from cortex.db.secrets import SecretRepository
from cortex.db.sessions import SessionRepository
from cortex.db.signing import SigningKeyRepository
from cortex.db.sso import SsoRepository
from cortex.db.statements import allow_one_write, handed_out
from cortex.db.templates import TemplateRepository
from cortex.db.trace import TraceRepository
from cortex.db.webhooks.deliveries import DeliveryRepository
from cortex.db.webhooks.fanout import FanoutRepository
from cortex.db.webhooks.repository import WebhookRepository
from cortex.domain.errors import DatabaseUnavailable
from cortex.settings import DatabaseSettings

# SQLSTATE classes that mean "away or out of resources now", not "wrong statement"; a standby before
# its promotion is read-only (25006), an idle transaction is ended (25P03).
_AWAY_FOR_READS = ("08", "53", "57", "58", "25P03")
_AWAY = (*_AWAY_FOR_READS, "25006")
_OPTIONS = (
    f"{session_options.ALL} -c statement_timeout=60000 -c idle_in_transaction_session_timeout=60000"
)


class UnitOfWork(Generic[Access]):
    """The repositories over one connection, as far as it allows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.jobs: JobRepository[Access] = JobRepository(connection)
        self.leases: LeaseRepository[Access] = LeaseRepository(connection)
        self.ledger: LedgerRepository[Access] = LedgerRepository(connection)
        self.events: EventRepository[Access] = EventRepository(connection)
        self.commands: CommandRepository[Access] = CommandRepository(connection)
        self.idempotency: IdempotencyRepository[Access] = IdempotencyRepository(connection)
        self.logs: LogRepository[Access] = LogRepository(connection)
        self.outputs: OutputRepository[Access] = OutputRepository(connection)
        self.frames: FrameRepository[Access] = FrameRepository(connection)
        self.metrics: MetricRepository[Access] = MetricRepository(connection)
        self.providers: ProviderRepository[Access] = ProviderRepository(connection)
        self.managed: ManagedProviderRepository[Access] = ManagedProviderRepository(connection)
        self.circuits: CircuitRepository[Access] = CircuitRepository(connection)
        self.accounts: AccountRepository[Access] = AccountRepository(connection)
        self.projects: ProjectRepository[Access] = ProjectRepository(connection)
        self.links: LinkRepository[Access] = LinkRepository(connection)
        self.logins: LoginRepository[Access] = LoginRepository(connection)
        self.second_factors: SecondFactorRepository[Access] = SecondFactorRepository(connection)
        self.sessions: SessionRepository[Access] = SessionRepository(connection)
        self.devices: DeviceRepository[Access] = DeviceRepository(connection)
        self.passkeys: PasskeyRepository[Access] = PasskeyRepository(connection)
        self.sso: SsoRepository[Access] = SsoRepository(connection)
        self.signing: SigningKeyRepository[Access] = SigningKeyRepository(connection)
        self.secrets: SecretRepository[Access] = SecretRepository(connection)
        self.named_secrets: NamedSecretRepository[Access] = NamedSecretRepository(connection)
        self.audit: AuditRepository[Access] = AuditRepository(connection)
        self.budgets: BudgetRepository[Access] = BudgetRepository(connection)
        self.reserves: ReserveRepository[Access] = ReserveRepository(connection)
        self.reports: ReportRepository[Access] = ReportRepository(connection)
        self.spending: SpendingRepository[Access] = SpendingRepository(connection)
        self.reads: ReadRepository[Access] = ReadRepository(connection)
        self.bulk: BulkRepository[Access] = BulkRepository(connection)
        self.acceptance: AcceptanceRepository[Access] = AcceptanceRepository(connection)
        self.group_acceptance: GroupAcceptanceRepository[Access] = GroupAcceptanceRepository(
            connection
        )
        self.group_reads: GroupReadRepository[Access] = GroupReadRepository(connection)
        self.groups: GroupRepository[Access] = GroupRepository(connection)
        self.steps: StepRepository[Access] = StepRepository(connection)
        self.stuck: StuckRepository[Access] = StuckRepository(connection)
        self.trace: TraceRepository[Access] = TraceRepository(connection)
        self.track: TrackRepository[Access] = TrackRepository(connection)
        self.plugins: PluginRepository[Access] = PluginRepository(connection)
        self.findings: FindingRepository[Access] = FindingRepository(connection)
        self.survey: SurveyRepository[Access] = SurveyRepository(connection)
        self.schedules: ScheduleRepository[Access] = ScheduleRepository(connection)
        self.filters: SavedFilterRepository[Access] = SavedFilterRepository(connection)
        self.templates: TemplateRepository[Access] = TemplateRepository(connection)
        self.runtime_settings: RuntimeSettingsRepository[Access] = RuntimeSettingsRepository(
            connection
        )
        self.webhooks: WebhookRepository[Access] = WebhookRepository(connection)
        self.fanout: FanoutRepository[Access] = FanoutRepository(connection)
        self.deliveries: DeliveryRepository[Access] = DeliveryRepository(connection)
        self.messages: MessageRepository[Access] = MessageRepository(connection)
        self.notices: NoticeRepository[Access] = NoticeRepository(connection)
        self.preferences: PreferenceRepository[Access] = PreferenceRepository(connection)


Reading = UnitOfWork[Reads]
Statement = UnitOfWork[Writes]
Transaction = UnitOfWork[Transacts]


class Database:
    """Hands out transactions. Open one per process; close it at the end."""

    def __init__(self, settings: DatabaseSettings, *, application: str = "cortex") -> None:
        self.settings = settings
        self._opener = Opener()
        self.engine = self._connect(application)
        if faultpoints.active is not None:
            watch_writes(self.engine)
        self._autocommit = allow_one_write(
            self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        # Connections of their own: to make one read-only for a while would take a round trip.
        self._read_only = self._connect(
            application, "-c default_transaction_read_only=on"
        ).execution_options(isolation_level="AUTOCOMMIT")

    def _connect(self, application: str, *options: str) -> AsyncEngine:
        settings = self.settings
        return create_async_engine(
            make_url(settings.url.get_secret_value()).set(drivername="postgresql+psycopg"),
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.timeout.total_seconds(),
            pool_recycle=1800,
            # The same few connections: those that have the statements prepared.
            pool_use_lifo=True,
            # It would be asked about at each new connection.
            use_native_hstore=False,
            connect_args={
                "connect_timeout": max(2, int(settings.timeout.total_seconds())),
                "application_name": application,
                "options": " ".join((_OPTIONS, *options)),
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end, rolls back on any exception.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be reached, or broke off.
        """
        opening: AbstractAsyncContextManager[Transaction] = self._begin()
        if faultpoints.active is not None:
            opening = bounded(opening)
        async with opening as tx:
            yield tx

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """For reads that need no common snapshot: every statement stands alone.

        Two round trips cheaper than a transaction. The server refuses to write.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be reached, or broke off.
        """
        async with (
            _told(away=_AWAY_FOR_READS),
            self._opener.connection(self._read_only) as connection,
        ):
            yield Reading(connection)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Statement]:
        """One statement that writes and commits by itself, and reads around it.

        Two round trips cheaper than a transaction.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot be reached, or broke off.
            RuntimeError: a second statement would write.
        """
        async with _told(away=_AWAY), self._opener.connection(self._autocommit) as connection:
            handed_out(connection)
            yield Statement(connection)

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[Transaction]:
        async with (
            _told(away=_AWAY),
            self._opener.connection(self.engine) as connection,
            connection.begin(),
        ):
            yield Transaction(connection)

    async def ping(self) -> None:
        """Raises `DatabaseUnavailable` if PostgreSQL does not answer."""
        async with self.reading() as tx:
            await tx.connection.execute(text("SELECT 1"))

    async def aclose(self) -> None:
        await self._opener.aclose()
        await self.engine.dispose()
        await self._read_only.dispose()


@asynccontextmanager
async def _told(*, away: tuple[str, ...]) -> AsyncIterator[None]:
    """Tells that PostgreSQL is away from that a statement is wrong, by these SQLSTATEs."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, PoolExhausted) as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        if error.connection_invalidated or _sqlstate(error).startswith(away):
            raise _unavailable(error) from error
        raise


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _unavailable(error: Exception) -> DatabaseUnavailable:
    cause = getattr(error, "orig", None) or error
    first = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    return DatabaseUnavailable(f"PostgreSQL does not answer: {first[:300]}")
