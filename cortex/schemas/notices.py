"""What the routes about notices take and answer."""

from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    WithJsonSchema,
)

from cortex.domain.notices import DEFAULT_OWN, ChannelStatus, NoticeEvent
from cortex.schemas._view import View

_LONGEST_URL: Final = 2000


def _once(events: tuple[NoticeEvent, ...]) -> tuple[NoticeEvent, ...]:
    return tuple(dict.fromkeys(events))


Events = Annotated[tuple[NoticeEvent, ...], Field(max_length=20), AfterValidator(_once)]


class NoticesView(View):
    """What one is told, and how."""

    enabled: bool = Field(description="False: nothing at all.")
    named: bool = Field(description="Whether jobs of others may name one in `notify`.")
    own: tuple[NoticeEvent, ...] = Field(description="Of own jobs, groups and schedules.")
    projects: tuple[NoticeEvent, ...] = Field(
        description="Of those of others in projects that one is in."
    )
    email: ChannelStatus
    chat: ChannelStatus


class NoticesPut(BaseModel):
    """What one wants to be told, in place of what was; what is not given is as for everybody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: StrictBool = Field(default=True, description="False: nothing at all.")
    named: StrictBool = Field(
        default=True, description="Whether jobs of others may name one in `notify`."
    )
    own: Events = Field(default=DEFAULT_OWN, description="Of own jobs, groups and schedules.")
    projects: Events = Field(
        default=(), description="Of those of others in projects that one is in."
    )
    email: StrictBool = Field(
        default=True, description="Whether by e-mail, to the address that an admin has given."
    )
    chat: Annotated[
        SecretStr | None,
        WithJsonSchema({"type": ["string", "null"], "maxLength": _LONGEST_URL}),
    ] = Field(
        default=None,
        max_length=_LONGEST_URL,
        description="A chat of one's own as Apprise writes it, such as `discord://…`; secret. "
        "Null: as it is; empty: none any more.",
    )
