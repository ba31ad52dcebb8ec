"""What a worker needs to submit what is due: the same acceptance as the API's."""

from temporalio.client import Client

from cortex.db.engine import Database
from cortex.services.groups.submit import GroupSubmissions
from cortex.services.jobs.control import JobControl
from cortex.services.jobs.submit import Submissions
from cortex.services.plugins import PluginDirectory
from cortex.services.projects import Projects
from cortex.services.providers.queries import ProviderRegistry
from cortex.services.schedules.firing import Firing
from cortex.settings import Settings
from cortex.temporal.outbox.dispatcher import LeftToRelay


def open_firing(settings: Settings, database: Database, client: Client) -> Firing:
    """Fires schedules in a process that runs the relay."""
    registry, plugins = ProviderRegistry(database), PluginDirectory(database)
    dispatcher = LeftToRelay(database, client, settings.jobs)
    return Firing(
        database,
        projects=Projects(database, settings.api),
        jobs=Submissions(
            database, registry=registry, plugins=plugins, dispatcher=dispatcher, settings=settings
        ),
        groups=GroupSubmissions(database, registry=registry, plugins=plugins, settings=settings),
        control=JobControl(database, registry=registry, dispatcher=dispatcher, settings=settings),
        settings=settings,
    )
