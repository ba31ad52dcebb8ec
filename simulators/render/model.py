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

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        body = {name: value for name, value in self.body.items() if name != "parameters"}
        return {
            **body,
            "uuid": self.uuid,
            "status": self.status,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }

    def run_view(self) -> dict[str, Any]:
        """The run, as lists show it: without logs."""
        return {
            "uuid": self.run_uuid,
            "job_uuid": self.uuid,
            "status": self.status,
            "started_at_ms": _ms(self.started_at),
            "node_urls": [],
        }


class Book(BaseModel):
    """All jobs, in the order in which they were made."""

    jobs: dict[str, SimJob] = Field(default_factory=dict)
    funds: bool = True


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
