"""The books of the simulated network: jobs with their runs, charges; kept in one file."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

OVER = ("COMPLETED", "FAILED", "CANCELLED")
_KEY = re.compile(r"cortex:(job_[0-9a-z]{26}-\d+)")


class SimJob(BaseModel):
    """One job. `body` is what was submitted."""

    uuid: str
    run_uuid: str
    body: dict[str, Any]
    status: str = "PENDING"
    hourly: Decimal = Decimal(0)
    hardware: dict[str, Any] = Field(default_factory=dict)
    """The node that took it: GPU and how many."""
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error_message: str = ""
    """Why it failed: told in no answer, as far as is known of the true one."""
    charge: Decimal | None = None

    @property
    def over(self) -> bool:
        return self.status in OVER

    @property
    def key(self) -> str:
        """The Cortex key in its title, for checks from outside."""
        match = _KEY.match(str(self.body.get("title", "")))
        return match[1] if match else ""

    def view(self, *, priced: bool = False) -> dict[str, Any]:
        """As the API shows it; `priced`: with what its node costs, once there is one."""
        body = {name: value for name, value in self.body.items() if name != "parameters"}
        return {
            **body,
            "uuid": self.uuid,
            "status": self.status,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            **self._price(priced),
        }

    @property
    def assigned(self) -> bool:
        """Whether a node has taken it: then there is a run."""
        return bool(self.hardware)

    def _price(self, told: bool) -> dict[str, Any]:
        if not told or not self.assigned:
            return {}
        return {
            "hardware_summary": self.hardware,
            "pricing": {"hourly_rate_usd": f"{self.hourly:f}"},
        }

    def run_view(self, *, priced: bool = False) -> dict[str, Any]:
        """The run, as lists show it: without logs. It is there once a node has taken the job."""
        return {
            "uuid": self.run_uuid,
            "job_uuid": self.uuid,
            "status": self.status,
            "started_at_ms": _ms(self.started_at),
            "node_urls": [],
            **self._price(priced),
        }


class Book(BaseModel):
    """All jobs, in the order in which they were made."""

    jobs: dict[str, SimJob] = Field(default_factory=dict)
    funds: bool = True
    assigned: int = 0
    """How many jobs nodes have taken."""
    dearer_every: int | None = None
    """In place of the setting, where a test has changed it."""
    dearer_next: int = 0
    """So many of the next ones get a dearer node, whatever the share."""


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
