"""What the history tables say about providers: health, leases and starts in a window of time."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import text

from cortex.db.base import Access, Repository
from cortex.domain.providers.track import TrackRecord
from cortex.domain.states import LeaseState

# A state holds from its row to the next one. The last row before the window says how it began.
# What is older than the first row is not measured, and counts neither way.
_HEALTH: Final = text("""
WITH seen AS (
    SELECT s.provider_id, s.status, GREATEST(s.created_at, :since) AS began, s.id
    FROM provider_status s WHERE s.created_at >= :since
    UNION ALL
    SELECT p.id, last.status, :since, last.id
    FROM providers p CROSS JOIN LATERAL (
        SELECT id, status FROM provider_status
        WHERE provider_id = p.id AND created_at < :since ORDER BY id DESC LIMIT 1
    ) AS last
), spans AS (
    SELECT provider_id, status, EXTRACT(EPOCH FROM
        LEAD(began, 1, now()) OVER (PARTITION BY provider_id ORDER BY began, id) - began
    ) AS seconds
    FROM seen
)
SELECT provider_id,
    SUM(seconds * CASE status WHEN 'online' THEN 1 WHEN 'degraded' THEN 0.5 ELSE 0 END)
        / SUM(seconds) AS online
FROM spans GROUP BY provider_id HAVING SUM(seconds) > 0
""")

# A lease counts once it is over. One that was given up before it began, for a reason that is not
# the network's (a cancel, an image that does not exist), says nothing about the network. Neither
# does one that came up for nothing because of the job itself (`unfit`, `no_image`). One whose image
# was not to be pulled there (`no_pull`) is lost.
_LEASES: Final = text(f"""
SELECT provider_id,
    COUNT(*) FILTER (WHERE state = '{LeaseState.RELEASED}'
        AND failure IS DISTINCT FROM 'unfit' AND failure IS DISTINCT FROM 'no_image'
        AND (committed_at IS NOT NULL OR failure IS NOT NULL)) AS leases,
    COUNT(*) FILTER (WHERE state = '{LeaseState.RELEASED}'
        AND failure IN ('lost', 'no_pull')) AS lost,
    COUNT(*) FILTER (WHERE state = '{LeaseState.RELEASED}' AND failure = 'refused') AS refused,
    COUNT(*) FILTER (WHERE started_at >= created_at) AS starts,
    PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM started_at - created_at))
        FILTER (WHERE started_at >= created_at) AS start
FROM leases WHERE created_at >= :since GROUP BY provider_id
""")


class TrackRepository(Repository[Access]):
    async def records(self, since: datetime, window: timedelta) -> dict[str, TrackRecord]:
        """The record of each provider of which anything was seen since then."""
        health = await self.connection.execute(_HEALTH, {"since": since})
        online = {row.provider_id: row.online for row in health}
        counted = await self.connection.execute(_LEASES, {"since": since})
        records = {
            row.provider_id: TrackRecord(
                window=window,
                online=_share(online.get(row.provider_id)),
                leases=row.leases,
                lost=row.lost,
                refused=row.refused,
                starts=row.starts,
                start=None if row.start is None else timedelta(seconds=float(row.start)),
            )
            for row in counted
        }
        for provider_id, share in online.items():
            if provider_id not in records:
                records[provider_id] = TrackRecord(window=window, online=_share(share))
        return records


def _share(value: Decimal | None) -> Decimal | None:
    return None if value is None else min(max(Decimal(value), Decimal(0)), Decimal(1))
