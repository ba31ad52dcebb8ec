"""What the routes about users and API keys take and answer."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from cortex.domain.accounts import (
    USER_NAME,
    ApiKey,
    User,
    UserKind,
    check_user_name,
    known_scopes,
    scopes_of,
)
from cortex.domain.mail import MaybeAddress
from cortex.domain.names import ONE_LINE, one_line
from cortex.domain.quantities import Duration
from cortex.domain.rights import Role
from cortex.domain.spec.rules import span
from cortex.schemas._view import View
from cortex.schemas.money import Amount

UserName = Annotated[
    str,
    AfterValidator(check_user_name),
    WithJsonSchema({"type": "string", "pattern": USER_NAME}),
]
_MOST_SCOPES: Final = 50
_LONGEST: Final = timedelta(days=3650)


def _scopes(words: tuple[str, ...]) -> tuple[str, ...]:
    scopes_of(words)
    return tuple(dict.fromkeys(words))


Scopes = Annotated[
    tuple[str, ...],
    AfterValidator(_scopes),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "enum": known_scopes(stars=True)},
            "maxItems": _MOST_SCOPES,
        }
    ),
]
Lifetime = Annotated[
    Duration,
    Field(ge=timedelta(seconds=1), le=_LONGEST),
    WithJsonSchema(span(timedelta(seconds=1), _LONGEST)),
]


KeyPurpose = Annotated[
    str,
    Field(max_length=100),
    AfterValidator(one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE, "maxLength": 100}),
]


class UserCreate(BaseModel):
    """Somebody new."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: UserName = Field(description="Also owns the jobs that are submitted under it.")
    role: Role
    kind: UserKind = Field(
        default=UserKind.PERSON, description="`service`: a program, which has keys only."
    )
    email: MaybeAddress = Field(
        default="", description="Where links and notices are sent; empty: nowhere."
    )


class UserUpdate(BaseModel):
    """What is changed of a user; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role | None = None
    active: StrictBool | None = Field(
        default=None, description="False: no key of theirs opens anything."
    )
    email: MaybeAddress | None = Field(
        default=None, description="Where links and notices are sent; empty: nowhere any more."
    )


class UserPage(View):
    items: tuple[User, ...]


class KeyCreate(BaseModel):
    """A new API key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: KeyPurpose = Field(description="What it is for.")
    user: UserName | None = Field(default=None, description="Whose it is; default: one's own.")
    scopes: Scopes = Field(
        default=(),
        max_length=_MOST_SCOPES,
        description="What it may do at most, such as `jobs:read`, `jobs:*` or `read` (all that "
        "changes nothing); empty: whatever the role of its user allows.",
    )
    project: UserName | None = Field(
        default=None,
        description="The only project in which it opens anything; default: wherever its user may "
        "go.",
    )
    expires_in: Lifetime | None = Field(
        default=None, description="Such as `90d`, at most ten years; default: never."
    )
    budget: Amount | None = Field(
        default=None,
        description="What everything that is submitted with it may cost in all, such as `5 USD`; "
        "default: only the budgets that cover its jobs anyway limit them.",
    )


class KeyPage(View):
    """Keys, the newest first, revoked ones too."""

    items: tuple[ApiKey, ...]


class KeyCreated(View):
    """A key that was made. Its text is nowhere to be had again."""

    key: str = Field(description="To be sent as `Authorization: Bearer <key>`.")
    info: ApiKey
