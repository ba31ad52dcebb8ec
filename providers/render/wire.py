"""What Dispersed answers, as far as it is documented and we use it. Unknown fields are ignored."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

LIVE = ("PENDING", "ASSIGNED", "PREPARING", "RUNNING", "FAILING", "CANCELLING")
OVER = ("COMPLETED", "FAILED", "CANCELLED")


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class WireJob(_Wire):
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


class WireRun(_Wire):
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
        found = self.hardware_summary
        name = found.get("gpu_name") if isinstance(found, dict) else None
        return str(name) if name else ""

    @property
    def hardware(self) -> str:
        found = self.hardware_summary
        if not isinstance(found, dict):
            return str(found or "")
        count, name = found.get("gpu_count"), self.gpu
        return f"{count} x {name}" if count and name else name or ", ".join(map(str, found))


class WireCharge(_Wire):
    """A line of the ledger."""

    job_uuid: str = ""
    amount_usd: Decimal

    @field_validator("job_uuid", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return "" if value is None else value


def _moment(millis: int | None) -> datetime | None:
    return None if not millis else datetime.fromtimestamp(millis / 1000, UTC)
