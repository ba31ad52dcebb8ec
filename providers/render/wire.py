"""What Dispersed answers, as far as it is documented and we use it. Unknown fields are ignored."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

LIVE = ("PENDING", "ASSIGNED", "PREPARING", "RUNNING", "FAILING", "CANCELLING")
OVER = ("COMPLETED", "FAILED", "CANCELLED")


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class _Priced(_Wire):
    """What may tell the price of the node that it is on.

    Where that stands is not documented. A value that cannot be read is none, and spoils nothing.
    """

    pricing: Any = None
    hourly_rate_usd: Any = None
    hardware_summary: Any = None

    @property
    def rate(self) -> Decimal | None:
        """USD per hour; None where it is not told."""
        inner = self.pricing.get("hourly_rate_usd") if isinstance(self.pricing, dict) else None
        for value in (inner, self.hourly_rate_usd):
            rate = _amount(value)
            if rate is not None:
                return rate
        return None

    @property
    def hardware(self) -> str:
        """The node, such as `6 x RTX 4090`; empty where it is not told."""
        return _hardware(self.hardware_summary)


class WireJob(_Priced):
    """A job. States that are not known are kept: they are polled on."""

    uuid: str
    status: str
    title: str = ""
    description: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    error_message: str = ""

    @field_validator("title", "description", "error_message", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return "" if value is None else value

    @property
    def over(self) -> bool:
        return self.status in OVER


class WireRun(_Priced):
    """A run of a job on a node. `logs` comes only where one run is asked for."""

    uuid: str
    job_uuid: str = ""
    status: str = ""
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    logs: str = ""

    @field_validator("logs", "job_uuid", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(map(str, value))
        return "" if value is None else value

    @property
    def started_at(self) -> datetime | None:
        return _moment(self.started_at_ms)

    @property
    def finished_at(self) -> datetime | None:
        return _moment(self.finished_at_ms)


class WirePricing(_Wire):
    hourly_rate_usd: Decimal = Field(ge=0)
    quoted_at: datetime | None = None


class WireOffer(_Wire):
    """What could be had now. What `hardware_summary` looks like is not documented."""

    offer_id: str
    availability: Any = None
    region_code: str | None = None
    hardware_summary: Any = None
    pricing: WirePricing

    @property
    def available(self) -> bool:
        return self.availability not in (0, False, "", "0", "none", "unavailable", "sold_out")

    @property
    def gpu(self) -> str:
        """The name of its GPU, where it is told."""
        summary = self.hardware_summary
        name = summary.get("gpu_name") if isinstance(summary, dict) else None
        return str(name) if name else ""

    @property
    def hardware(self) -> str:
        return _hardware(self.hardware_summary)


class WireCharge(_Wire):
    """A line of the ledger."""

    job_uuid: str = ""
    amount_usd: Decimal

    @field_validator("job_uuid", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return "" if value is None else value


def _hardware(summary: Any) -> str:
    if not isinstance(summary, dict):
        return str(summary or "")[:100]
    count, name = summary.get("gpu_count"), str(summary.get("gpu_name") or "")
    told = f"{count} x {name}" if count and name else name or ", ".join(map(str, summary))
    return told[:100]


def _amount(value: Any) -> Decimal | None:
    """A price; None of what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def _moment(millis: int | None) -> datetime | None:
    return None if not millis else datetime.fromtimestamp(millis / 1000, UTC)
