"""The services of one API process, opened and closed with it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from cortex.db.engine import Database
from cortex.db.groups.views import GroupReads
from cortex.db.jobs import logs
from cortex.db.jobs.views import JobReads
from cortex.db.notify import Notifier
from cortex.db.outbox import events
from cortex.db.readpool import ReadPool
from cortex.db.runtime_settings import CHANNEL as SETTINGS_CHANNEL
from cortex.runtime_settings import RuntimeSettings, SettingsFollower
from cortex.security.keyring import KeyRing
from cortex.services.accounts.authentication import CHANNELS, Authenticator
from cortex.services.accounts.devices import DeviceLogins
from cortex.services.accounts.identities import Identities
from cortex.services.accounts.invitations import Invitations
from cortex.services.accounts.keys import ApiKeys
from cortex.services.accounts.lockout import Lockout
from cortex.services.accounts.logins import Logins
from cortex.services.accounts.mails import AccountMails
from cortex.services.accounts.ownership import Ownership
from cortex.services.accounts.passkeys import Passkeys
from cortex.services.accounts.password_check import PasswordCheck
from cortex.services.accounts.passwords import Passwords
from cortex.services.accounts.second_factors import SecondFactors
from cortex.services.accounts.sessions import Sessions
from cortex.services.accounts.signing import AccessTokens
from cortex.services.accounts.sso import SingleSignOn
from cortex.services.accounts.users import Users
from cortex.services.audit.denials import Denials
from cortex.services.audit.queries import AuditLog
from cortex.services.audit.sealing import Sealer
from cortex.services.events.hub import EventHub
from cortex.services.events.streams import Streams
from cortex.services.filters import SavedFilters
from cortex.services.groups.control import GroupControl
from cortex.services.groups.queries import GroupQueries
from cortex.services.groups.submit import GroupSubmissions
from cortex.services.health import HealthProbe
from cortex.services.jobs.bulk import BulkCancels
from cortex.services.jobs.control import JobControl
from cortex.services.jobs.metrics import MetricQueries
from cortex.services.jobs.queries import Queries
from cortex.services.jobs.quotes import Quotes
from cortex.services.jobs.submit import Submissions
from cortex.services.money.billing import Billing
from cortex.services.money.budgets import Budgets
from cortex.services.named_secrets import NamedSecrets
from cortex.services.notices import Notices
from cortex.services.payloads import Payloads
from cortex.services.plugins import PluginDirectory
from cortex.services.projects import Projects
from cortex.services.providers.admin import ProviderAdmin
from cortex.services.providers.inspection import Inspections
from cortex.services.providers.queries import ProviderRegistry
from cortex.services.reconcile import Reconciling
from cortex.services.runtime_settings import SettingsDesk
from cortex.services.schedules.firing import Firing
from cortex.services.schedules.schedules import Schedules
from cortex.services.secrets import Secrets
from cortex.services.templates import Templates
from cortex.services.trace.resolve import Resolutions
from cortex.services.trace.stuck import StuckJobs
from cortex.services.trace.trace import Traces
from cortex.services.webhooks.deliveries import WebhookDeliveries
from cortex.services.webhooks.webhooks import Webhooks
from cortex.settings import Settings
from cortex.telemetry.tracing import configure_tracing
from cortex.temporal.client import connect
from cortex.temporal.outbox.dispatcher import Dispatcher


@dataclass(frozen=True)
class Services:
    """What the routes call."""

    settings: Settings
    database: Database
    registry: ProviderRegistry
    providers: ProviderAdmin
    inspections: Inspections
    submissions: Submissions
    control: JobControl
    bulk_cancels: BulkCancels
    groups: GroupSubmissions
    group_control: GroupControl
    group_queries: GroupQueries
    resolutions: Resolutions
    stuck: StuckJobs
    traces: Traces
    queries: Queries
    metrics: MetricQueries
    billing: Billing
    budgets: Budgets
    plugins: PluginDirectory
    quotes: Quotes
    reconcile: Reconciling
    authenticator: Authenticator
    ownership: Ownership
    projects: Projects
    users: Users
    keys: ApiKeys
    tokens: AccessTokens
    sessions: Sessions
    logins: Logins
    second_factors: SecondFactors
    passkeys: Passkeys
    invitations: Invitations
    sso: SingleSignOn
    devices: DeviceLogins
    secrets: Secrets
    templates: Templates
    named_secrets: NamedSecrets
    schedules: Schedules
    payloads: Payloads
    settings_desk: SettingsDesk
    filters: SavedFilters
    notices: Notices
    webhooks: Webhooks
    deliveries: WebhookDeliveries
    audit: AuditLog
    denials: Denials
    streams: Streams
    hub: EventHub
    probe: HealthProbe


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """All services, running. Neither the database nor Temporal need be there yet."""
    async with AsyncExitStack() as stack:
        database = Database(settings.database, application="cortex-api")
        stack.push_async_callback(database.aclose)
        pool = ReadPool(settings.database, application="cortex-api-reads")
        stack.push_async_callback(pool.aclose)
        tracing = configure_tracing(settings.telemetry, "cortex-api")
        keyring = KeyRing.from_setting(settings.encryption_keys)
        client = await connect(settings.temporal, keyring, lazy=True, interceptors=tracing)
        channels = (events.CHANNEL, logs.CHANNEL, SETTINGS_CHANNEL, *CHANNELS)
        notifier = Notifier(settings.database, channels)
        hub = EventHub(database, notifier)
        dispatcher = Dispatcher(database, client, settings.jobs)
        probe = HealthProbe(settings, client)
        tokens = AccessTokens(database, keyring, settings.sessions)
        passwords = Passwords(settings.passwords)
        lockout = Lockout(database, settings.lockout)
        check = PasswordCheck(database, passwords, lockout)
        passkeys = Passkeys(database, check, settings.passkeys, settings.api)
        second_factors = SecondFactors(database, keyring, check, passkeys)
        sessions = Sessions(database, tokens, settings.sessions)
        authenticator, denials = Authenticator(database, notifier, tokens), Denials(database)
        runtime = RuntimeSettings(settings)
        follower = SettingsFollower(database, notifier, runtime)
        sealer = Sealer(database)
        for part in (notifier, follower, hub, dispatcher, probe, authenticator, denials, sealer):
            await part.start()
            stack.push_async_callback(part.aclose)
        users = Users(database, settings.api)
        registry = ProviderRegistry(database)
        plugins = PluginDirectory(database)
        control = JobControl(database, registry=registry, dispatcher=dispatcher, settings=settings)
        projects = Projects(database, settings.api)
        submissions = Submissions(
            database,
            registry=registry,
            plugins=plugins,
            dispatcher=dispatcher,
            settings=settings,
        )
        groups = GroupSubmissions(database, registry=registry, plugins=plugins, settings=settings)
        firing = Firing(
            database,
            projects=projects,
            jobs=submissions,
            groups=groups,
            control=control,
            settings=settings,
        )
        yield Services(
            settings=settings,
            database=database,
            registry=registry,
            providers=ProviderAdmin(database, client, registry, settings),
            inspections=Inspections(client, registry),
            submissions=submissions,
            groups=groups,
            control=control,
            bulk_cancels=BulkCancels(database, control, settings),
            resolutions=Resolutions(database, client, control, settings),
            stuck=StuckJobs(database, settings.stuck),
            traces=Traces(database, client),
            group_control=GroupControl(database),
            queries=Queries(database, JobReads(pool), settings),
            metrics=MetricQueries(database, registry, settings.jobs),
            group_queries=GroupQueries(database, GroupReads(pool), settings),
            billing=Billing(database),
            budgets=Budgets(database, registry),
            plugins=plugins,
            quotes=Quotes(client, registry, plugins, settings),
            reconcile=Reconciling(database, client, registry),
            authenticator=authenticator,
            ownership=Ownership(database),
            projects=projects,
            users=users,
            keys=ApiKeys(database, registry),
            tokens=tokens,
            sessions=sessions,
            logins=Logins(database, passwords, check, second_factors, sessions),
            second_factors=second_factors,
            passkeys=passkeys,
            invitations=Invitations(database, passwords, AccountMails(settings)),
            sso=SingleSignOn(database, sessions, Identities(users), settings.oidc),
            devices=DeviceLogins(database, sessions, lockout, settings.device_login),
            secrets=Secrets(database, client, settings),
            templates=Templates(
                database, projects=projects, jobs=submissions, groups=groups, settings=settings
            ),
            named_secrets=NamedSecrets(database, projects, settings),
            schedules=Schedules(database, firing),
            payloads=Payloads(keyring, settings.temporal),
            settings_desk=SettingsDesk(database, runtime),
            filters=SavedFilters(database, projects),
            notices=Notices(database, settings),
            webhooks=Webhooks(database, settings),
            deliveries=WebhookDeliveries(database),
            audit=AuditLog(database),
            denials=denials,
            streams=Streams(database, hub),
            hub=hub,
            probe=probe,
        )


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Using = Annotated[Services, Depends(_services)]
"""The services, as a parameter of a route."""
