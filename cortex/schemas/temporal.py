"""What the codec endpoint for Temporal's own tools takes and answers: its `Payloads` as JSON."""

import base64
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

BASE64: Final = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
MOST_PAYLOADS: Final = 10_000

Base64 = Annotated[str, Field(pattern=BASE64)]


class PayloadJson(BaseModel):
    """One payload, its bytes in base64."""

    # Fields that Temporal's tools may send besides are theirs.
    model_config = ConfigDict(frozen=True, extra="ignore")

    metadata: dict[str, Base64] = Field(
        default_factory=dict, description="`encoding` says what it is."
    )
    data: Base64 = ""

    def content(self) -> tuple[dict[str, bytes], bytes]:
        """Metadata and data as bytes."""
        metadata = {name: base64.b64decode(value) for name, value in self.metadata.items()}
        return metadata, base64.b64decode(self.data)

    @classmethod
    def of(cls, metadata: dict[str, bytes], data: bytes) -> "PayloadJson":
        """The form in JSON of a payload."""
        return cls(
            metadata={name: base64.b64encode(value).decode() for name, value in metadata.items()},
            data=base64.b64encode(data).decode(),
        )


class PayloadsJson(BaseModel):
    """Payloads, in an order that stays."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    payloads: tuple[PayloadJson, ...] = Field(default=(), max_length=MOST_PAYLOADS)
