"""What the routes about users and API keys take and answer."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from cortex.domain.accounts import ApiKey, User, UserKind, check_user_name, scopes_of
from cortex.domain.names import ONE_LINE
from cortex.domain.rights import Role
from cortex.domain.units import parse_duration
from cortex.schemas._view import View

UserName = Annotated[str, AfterValidator(check_user_name)]


def _scopes(words: tuple[str, ...]) -> tuple[str, ...]:
    scopes_of(words)
    return tuple(dict.fromkeys(words))


class UserCreate(BaseModel):
    """Somebody new."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: UserName = Field(description="Also owns the jobs that are submitted under it.")
    role: Role
    kind: UserKind = Field(
        default=UserKind.PERSON, description="`service`: a program, which has keys only."
    )


class UserUpdate(BaseModel):
    """What is changed of a user; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role | None = None
    active: StrictBool | None = Field(
        default=None, description="False: no key of theirs opens anything."
    )


class UserPage(View):
    items: tuple[User, ...]


class KeyCreate(BaseModel):
    """A new API key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=ONE_LINE, max_length=100, description="What it is for.")
    user: UserName | None = Field(default=None, description="Whose it is; default: one's own.")
    scopes: Annotated[tuple[str, ...], AfterValidator(_scopes)] = Field(
        default=(),
        max_length=50,
        description="What it may do at most, such as `jobs:read`, `jobs:*` or `read` (all that "
        "changes nothing); empty: whatever the role of its user allows.",
    )
    expires_in: Annotated[timedelta, BeforeValidator(parse_duration)] | None = Field(
        default=None, gt=timedelta(0), description="Such as `90d`; default: never."
    )


class KeyPage(View):
    """Keys, the newest first, revoked ones too."""

    items: tuple[ApiKey, ...]


class KeyCreated(View):
    """A key that was made. Its text is nowhere to be had again."""

    key: str = Field(description="To be sent as `Authorization: Bearer <key>`.")
    info: ApiKey
