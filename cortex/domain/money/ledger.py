"""The append-only book of holds, charges and releases."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from cortex.domain.money import Money


class EntryKind(StrEnum):
    HOLD = "hold"
    """Money set aside for a lease before its network is called."""
    CHARGE = "charge"
    """What the lease cost in the end; one per lease, enforced by the database."""
    RELEASE = "release"
    """Closes the holds of a lease: what was set aside and not used."""


class LedgerEntry(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    job_id: str
    lease_key: str
    provider_id: str
    kind: EntryKind
    amount: Money
    usd_rate: str = "1"
    note: str = ""
    created_at: datetime
