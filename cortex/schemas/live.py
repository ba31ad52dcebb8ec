"""What the WebSocket `/api/v1/ws` takes and says: one JSON object per text message."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from cortex.domain.accounts import USER_NAME
from cortex.domain.events import EventType
from cortex.domain.ids import GROUP_ID, JOB_ID

_PREFIX: Final = "cortex."
_POSITION: Final = "^[0-9]{1,18}-[0-9]{1,18}$"


def types_of(pattern: str) -> frozenset[EventType]:
    """The event types that `job.*`, `cortex.job.*` or `job.submitted` mean.

    Raises:
        ValueError: none is meant.
    """
    name = pattern.removeprefix(_PREFIX)
    begin = name.removesuffix("*")
    matching = frozenset(
        event_type
        for event_type in EventType
        if event_type.value == name
        or (name.endswith((".*", "*")) and event_type.value.startswith(begin))
    )
    if not matching:
        raise ValueError(f"`{pattern}` is no type of an event; see the list in docs/api.md")
    return matching


def _known(pattern: str) -> str:
    types_of(pattern)
    return pattern


_Name = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_.-]{1,64}$")]
_Pattern = Annotated[str, StringConstraints(max_length=100), AfterValidator(_known)]
_Job = Annotated[str, StringConstraints(pattern=JOB_ID)]
_Group = Annotated[str, StringConstraints(pattern=GROUP_ID)]
_Project = Annotated[str, StringConstraints(pattern=USER_NAME)]
_MOST: Final = 500


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Subscribe(_Message):
    """Send events of this choice from now on. What is not given does not narrow it."""

    type: Literal["subscribe"]
    id: _Name = Field(description="Its name in what follows; one in use is a conflict.")
    types: tuple[_Pattern, ...] = Field(default=(), max_length=_MOST, description="Any of these.")
    jobs: tuple[_Job, ...] = Field(default=(), max_length=_MOST)
    groups: tuple[_Group, ...] = Field(default=(), max_length=_MOST, description="With members.")
    projects: tuple[_Project, ...] = Field(default=(), max_length=_MOST)
    after: Annotated[str, StringConstraints(pattern=_POSITION)] | None = Field(
        default=None, description="Resumes after the event of this position: nothing is left out."
    )
    start: Literal["start", "now"] = Field(
        default="now", alias="from", description="Where it begins without `after`."
    )

    def chosen_types(self) -> frozenset[EventType] | None:
        """The types that are meant; None: all."""
        return frozenset().union(*map(types_of, self.types)) if self.types else None


class Unsubscribe(_Message):
    """Send nothing more of this choice."""

    type: Literal["unsubscribe"]
    id: _Name


class Ping(_Message):
    """Ask for a sign of life: `pong`."""

    type: Literal["ping"]


Incoming = Subscribe | Unsubscribe | Ping
INCOMING: Final[Mapping[str, type[Incoming]]] = MappingProxyType(
    {"subscribe": Subscribe, "unsubscribe": Unsubscribe, "ping": Ping}
)
"""What a message is, by its `type`."""
