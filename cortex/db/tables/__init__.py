"""All tables, one module per noun: whoever imports this has them all on `Base`."""

from cortex.db.tables import (
    accounts,
    audit,
    events,
    groups,
    jobs,
    leases,
    money,
    outbox,
    plugins,
    projects,
    providers,
    reconcile,
    schedules,
    settings,
    templates,
    webhooks,
)
from cortex.db.tables.base import Base

__all__ = (
    "Base",
    "accounts",
    "audit",
    "events",
    "groups",
    "jobs",
    "leases",
    "money",
    "outbox",
    "plugins",
    "projects",
    "providers",
    "reconcile",
    "schedules",
    "settings",
    "templates",
    "webhooks",
)
