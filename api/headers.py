"""Request headers that several routes take."""

from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Makes it safe to send the request again."),
]
