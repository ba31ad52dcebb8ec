"""What the routes about webhooks take and answer."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    WithJsonSchema,
)

from cortex.domain.accounts import USER_NAME
from cortex.domain.ids import GROUP_ID
from cortex.domain.names import LABEL, ONE_LINE, one_line
from cortex.domain.quantities import Duration
from cortex.domain.spec.rules import span
from cortex.domain.webhooks import Delivery, JobFilter, Webhook, known_patterns
from cortex.schemas._view import View

_NAME: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = rf"({_NAME}(\.{_NAME}){{0,20}}\.?|\[[0-9A-Fa-f:.]{{2,45}}\])"
# No `#`, no backslash.
_REST: Final = r"[/?][\u0021\u0022\u0024-\u005b\u005d-\u007e]*"
URL: Final = rf"^https?://{_HOST}(:[1-9][0-9]{{0,4}})?({_REST})?$"
_LONGEST_URL: Final = 2000
# The two halves of what a label is.
_HALVES: Final = LABEL.partition("}=")
LABEL_KEY: Final = _HALVES[0] + "}$"
LABEL_VALUE: Final = "^" + _HALVES[2]
HEADER_NAME: Final = "^[A-Za-z0-9-]{1,64}$"
HEADER_VALUE: Final = r"^[\u0021-\u007e]([\u0020-\u007e]{0,998}[\u0021-\u007e])?$"
DELIVERY_ID: Final = "^dlv_[0-9a-hjkmnp-tv-z]{26}$"
MOST_PATTERNS: Final = 50
MOST_HEADERS: Final = 20
MOST_LABELS: Final = 20
LONGEST_OVERLAP: Final = timedelta(days=30)
OURS: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent"),
        *("webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)
"""Headers that Cortex itself decides on."""


def _patterns(words: tuple[str, ...]) -> tuple[str, ...]:
    known = known_patterns()
    for word in words:
        if word not in known:
            raise ValueError(
                f"`{word[:60]}` is no type of event, nor the beginning of one with a star: "
                "there are such as `job.state.changed`, `job.*` and `*`"
            )
    return tuple(dict.fromkeys(words))


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for name, value in labels.items():
        if not (re.fullmatch(LABEL_KEY, name) and re.fullmatch(LABEL_VALUE, value)):
            raise ValueError(f"`{name[:60]}` and its value must be a label, `key=value`")
    return labels


def _header_name(name: str) -> str:
    if not re.fullmatch(HEADER_NAME, name):
        raise ValueError("must be a name of letters, digits and `-`, 64 at most")
    if name.lower() in OURS:
        raise ValueError("is a header that Cortex itself decides on")
    return name.lower()


def _header_value(value: SecretStr) -> SecretStr:
    if not re.fullmatch(HEADER_VALUE, value.get_secret_value()):
        raise ValueError("must be 1 to 1,000 printable ASCII characters, no blank at either end")
    return value


def _each_once(headers: dict[str, Any]) -> dict[str, Any]:
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"may have {MOST_HEADERS} headers at most")
    return headers


_NAMES: Final = {"pattern": HEADER_NAME, "not": {"enum": sorted(OURS)}}


def _headers_schema(value: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "object",
            "propertyNames": _NAMES,
            "additionalProperties": value,
            "maxProperties": MOST_HEADERS,
            "examples": [{"authorization": "Bearer 3f9c"}],
        }
    )


_VALUE: Final = {"type": "string", "pattern": HEADER_VALUE}
Patterns = Annotated[
    tuple[str, ...],
    Field(min_length=1, max_length=MOST_PATTERNS),
    AfterValidator(_patterns),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "enum": known_patterns()},
            "minItems": 1,
            "maxItems": MOST_PATTERNS,
        }
    ),
]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_header_value)]
Headers = Annotated[
    dict[HeaderName, HeaderValue], AfterValidator(_each_once), _headers_schema(_VALUE)
]
HeaderChanges = Annotated[
    dict[HeaderName, HeaderValue | None],
    AfterValidator(_each_once),
    _headers_schema({"anyOf": [_VALUE, {"type": "null"}]}),
]
Url = Annotated[
    str,
    Field(
        pattern=URL,
        max_length=_LONGEST_URL,
        description="`https://…`; the ports 80, 443 and those from 1024 on. Secrets belong into "
        "`headers`: whoever may see the webhook sees its URL.",
    ),
]
Description = Annotated[
    str,
    Field(max_length=200),
    AfterValidator(one_line),
    WithJsonSchema({"type": "string", "pattern": ONE_LINE, "maxLength": 200}),
]
_FORMS: Final = span(timedelta(0), LONGEST_OVERLAP)["anyOf"]
_AT_ONCE: Final = {"const": "0s"}
_TEXT: Final = re.compile(_FORMS[1]["pattern"])


def _as_written(value: object) -> object:
    """Texts in the forms of the document only: `0s`, `90m`, `24h`."""
    if isinstance(value, str) and value != _AT_ONCE["const"] and not _TEXT.fullmatch(value):
        raise ValueError("must be such as `24h`, `90m` or `0s`, 30 days at most")
    return value


Overlap = Annotated[
    Duration,
    Field(ge=timedelta(0), le=LONGEST_OVERLAP),
    BeforeValidator(_as_written),
    WithJsonSchema({"anyOf": [*_FORMS, _AT_ONCE]}),
]


JobLabels = Annotated[
    dict[str, str],
    AfterValidator(_labels),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": LABEL_KEY},
            "additionalProperties": {"type": "string", "pattern": LABEL_VALUE},
            "maxProperties": MOST_LABELS,
        }
    ),
]
"""Labels that all must match."""


class JobFilterInput(BaseModel):
    """Only events of these jobs and groups; what is not given does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: JobLabels = Field(
        default_factory=dict, max_length=MOST_LABELS, description="All must match."
    )
    group: str | None = Field(
        default=None, pattern=GROUP_ID, description="Of this group and its members."
    )
    owner: str | None = Field(
        default=None, pattern=USER_NAME, description="Whose; a developer gets own ones anyway."
    )
    project: str | None = Field(default=None, pattern=USER_NAME, description="In this project.")

    def filter(self) -> JobFilter:
        return JobFilter(
            labels=self.labels, group=self.group, owner=self.owner, project=self.project
        )


class WebhookCreate(BaseModel):
    """A new webhook."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url
    description: Description | None = Field(default=None, description="What it is for.")
    events: Patterns = Field(
        default=("*",), description="Types of events; one may end in a star: `job.*`."
    )
    jobs: JobFilterInput = Field(default_factory=JobFilterInput)
    headers: Headers = Field(
        default_factory=dict, description="Sent along; their values are nowhere to be had again."
    )
    enabled: StrictBool = True


class WebhookUpdate(BaseModel):
    """What is changed of a webhook; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url | None = Field(
        default=None, description="At another host all headers must be given anew, or taken away."
    )
    description: Description | None = None
    events: Patterns | None = None
    jobs: JobFilterInput | None = None
    headers: HeaderChanges | None = Field(
        default=None, description="A value sets a header, null takes it away; the others stay."
    )
    enabled: StrictBool | None = None
    skip_missed: StrictBool = Field(
        default=False,
        description="Forget what happened and was not looked at while it was disabled; else it "
        "is delivered.",
    )


class RotateSecret(BaseModel):
    """How a secret is changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap: Overlap = Field(
        default=timedelta(hours=24),
        description="How long the old secret signs as well, at most 30 days.",
    )


class Redeliver(BaseModel):
    """What is to be sent again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delivery: str | None = Field(
        default=None, pattern=DELIVERY_ID, description="One that has ended; else all dead ones."
    )


class WebhookPage(View):
    """Webhooks, the newest first."""

    items: tuple[Webhook, ...]


class WebhookSecret(View):
    """A webhook with its secret, which is nowhere to be had again."""

    secret: str = Field(description="`whsec_<base64>`, for whoever verifies signatures.")
    info: Webhook


class DeliveryPage(View):
    """Deliveries, the newest first."""

    items: tuple[Delivery, ...]
    next_cursor: str | None = None


class Redelivered(View):
    """How many are sent again."""

    count: int
