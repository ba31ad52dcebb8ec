"""Quantities as fields of models: read as people write them, shown the same way in JSON."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from cortex.domain.money import format_amount, printable
from cortex.domain.units import (
    format_bytes,
    format_duration,
    parse_bytes,
    parse_cores,
    parse_duration,
)
from cortex.domain.written import SizeText

Cores = Annotated[
    Decimal,
    BeforeValidator(parse_cores),
    Field(ge=Decimal("0.01"), le=1024),
    AfterValidator(printable),
    PlainSerializer(format_amount, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["number", "string"], "examples": [2, "0.5", "250m"]}),
]
Bytes = Annotated[
    int,
    SizeText(),
    BeforeValidator(parse_bytes),
    PlainSerializer(format_bytes, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["integer", "string"], "examples": ["512Mi", "4Gi"]}),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["number", "string"], "examples": ["90s", "10m", "1h30m"]}),
]
