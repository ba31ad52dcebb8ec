"""Settings that are changed while Cortex runs: the names, and what is known of each change.

All of them together are one version; a change makes the next one, a roll-back too.
"""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

Scalar = bool | int | str
"""A value as it is written: `7d`, `64MiB`, `true`, `600`."""

NAMES: Final = (
    "api.failed_keys_per_minute",
    "api.max_sockets",
    "api.max_streams",
    "api.max_streams_per_user",
    "api.requests_per_minute",
    "api.slow_client",
    "jobs.accept",
    "jobs.max_duration",
    "jobs.metrics_interval",
    "jobs.warn_before",
    "logs.retention",
    "placement.max_rate_age",
    "placement.typical_run",
    "plugin_delivery.first_wait",
    "plugin_delivery.longest_wait",
    "plugin_delivery.tries",
    "reconcile.grace",
    "reconcile.unknown_keys",
    "retention.events",
    "retention.metrics",
    "telemetry.log_level",
    "webhooks.at_once",
    "webhooks.disable_after",
    "webhooks.first_wait",
    "webhooks.give_up_after",
    "webhooks.keep_dead",
    "webhooks.keep_delivered",
    "webhooks.longest_wait",
    "webhooks.per_webhook",
)
"""Those that are read at each use, in every process. All others need a restart."""


class SettingsVersion(BaseModel):
    """What was set at run time from one change on, until the next.

    Attributes:
        version: Counts the changes; 0: nothing was ever set.
        values: All that was set then; what is not here is as file and environment have it.
        changed_by: Who made the change.
        comment: Why.
    """

    model_config = ConfigDict(frozen=True)

    version: int
    values: dict[str, Scalar] = Field(default_factory=dict)
    changed_by: str = ""
    changed_at: datetime | None = None
    comment: str = ""
