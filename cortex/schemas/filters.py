"""What the routes about saved filters take and answer."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from cortex.domain.accounts import USER_NAME
from cortex.domain.filters import SavedFilter, SavedJobs
from cortex.domain.ids import GROUP_ID
from cortex.domain.names import NO_NUL
from cortex.domain.quantities import Duration
from cortex.domain.spec.rules import span
from cortex.domain.states import JobState
from cortex.schemas._view import View
from cortex.schemas.webhooks import MOST_LABELS, JobLabels

_LONGEST: Final = timedelta(days=3650)
_Text = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=NO_NUL)]


class FilterPut(BaseModel):
    """Which jobs the filter finds; what is not given does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: tuple[JobState, ...] = Field(default=(), max_length=20, description="Any of these.")
    project: Annotated[str, Field(pattern=USER_NAME)] | None = None
    provider: _Text | None = None
    owner: Annotated[str, Field(pattern=USER_NAME)] | None = None
    name: _Text | None = None
    label: JobLabels = Field(
        default_factory=dict, max_length=MOST_LABELS, description="All must match."
    )
    group: Annotated[str, Field(pattern=GROUP_ID)] | None = None
    created_within: (
        Annotated[
            Duration,
            Field(ge=timedelta(seconds=1), le=_LONGEST),
            WithJsonSchema(span(timedelta(seconds=1), _LONGEST)),
        ]
        | None
    ) = Field(default=None, description="Not older than this when it is asked for.")

    def jobs(self) -> SavedJobs:
        return SavedJobs(**{name: getattr(self, name) for name in SavedJobs.model_fields})


class FilterPage(View):
    """Saved filters: one's own, then those that are shared, by name."""

    items: tuple[SavedFilter, ...]
