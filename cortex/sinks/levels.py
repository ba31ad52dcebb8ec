"""Which notices a channel tells, and how an error is told."""

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


def words(error: Exception) -> str:
    """What an error says, in one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
