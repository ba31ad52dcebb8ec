"""Which notices a channel tells."""

from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import BaseModel, Field

from cortex.domain.quantities import Duration
from cortex.plugins.notifications import Level, Notification

_ORDER: Final[tuple[Level, ...]] = ("info", "warning", "error")


class Threshold(BaseModel):
    """The part of a channel's configuration that says how much it tells."""

    level: Level = Field(default="warning", description="The least that is told.")
    max_age: Duration = Field(
        default=timedelta(days=1), description="What is older after an outage is not told any more."
    )

    def tells(self, note: Notification) -> bool:
        """Whether this is still worth telling."""
        late = datetime.now(UTC) - note.time > self.max_age
        return not late and _ORDER.index(note.level) >= _ORDER.index(self.level)
