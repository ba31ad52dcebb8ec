"""All checks, in the order in which one would mend what they find."""

import asyncio
from datetime import timedelta
from typing import Final

from cortex.doctor.api import check_api, check_redis
from cortex.doctor.database import check_database
from cortex.doctor.findings import Finding, fault
from cortex.doctor.machine import check_machine
from cortex.doctor.providers import check_providers
from cortex.doctor.secrets import check_key_ring
from cortex.doctor.temporal import check_temporal
from cortex.domain.errors import CortexError
from cortex.security.kms import with_open_keys
from cortex.settings import Settings

_PATIENCE: Final = timedelta(seconds=5)
"""For a key service that is away."""


async def examine(settings: Settings, start: str | None = None) -> list[Finding]:
    """What was found, in less than half a minute; nothing is changed and nothing raised.

    `start`: a command that starts database, Temporal and API; None: they are started one by one.
    """
    it = f"start it (`{start}`)" if start else "start it"
    findings = await asyncio.to_thread(check_machine, settings)
    database = await check_database(settings, it)
    known = None if database.providers is None else [one.id for one in database.providers]
    temporal, api, redis = await asyncio.gather(
        check_temporal(settings, known, it), check_api(settings, start), check_redis(settings)
    )
    try:
        impatient = settings.kms.model_copy(update={"patience": _PATIENCE})
        asked = settings.model_copy(update={"kms": impatient})
        opened = await asyncio.to_thread(with_open_keys, asked)
        ring = check_key_ring(opened, database.stored)
    except CortexError as error:
        ring = fault("key ring", error.detail, "start the key service, or correct `kms`")
    return [
        *findings,
        *database.findings,
        ring,
        *temporal,
        *redis,
        api,
        *check_providers(database.providers),
    ]
