"""The providers' records for placing, counted anew now and then: placing must stay quick."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from cortex.db.engine import Database
from cortex.domain.errors import DatabaseUnavailable
from cortex.domain.providers.track import TrackRecord
from cortex.settings import PlacementSettings

_log = structlog.get_logger(__name__)


class TrackRecords:
    """Reads the records from the database, at most every `placement.refresh`."""

    def __init__(self, database: Database, settings: PlacementSettings) -> None:
        self._database = database
        self._settings = settings
        self._records: Mapping[str, TrackRecord] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def all(self) -> Mapping[str, TrackRecord]:
        """The newest records, by provider. While they are read anew, the last ones are good."""
        if not self._is_old():
            return self._records
        if self._reading.locked() and self._records:
            return self._records
        async with self._reading:
            if self._is_old():
                await self._read()
        return self._records

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at > self._settings.refresh.total_seconds()

    async def _read(self) -> None:
        since = datetime.now(UTC) - self._settings.window
        try:
            async with self._database.reading() as tx:
                self._records = await tx.track.records(since, self._settings.window)
        except DatabaseUnavailable as error:
            # The step itself will say so; a ranking by what was known is better than none.
            _log.warning("track.database_away", error=error.detail)
            return
        self._read_at = time.monotonic()
