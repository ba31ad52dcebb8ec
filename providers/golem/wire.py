"""The daemon's answers, as release 0.17.6 gives them: only the fields that are used here."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Identity(_Wire):
    identity: str
    name: str | None = None


class Proposal(_Wire):
    proposal_id: str
    issuer_id: str
    state: str
    prev_proposal_id: str | None = None
    properties: dict[str, Any]
    constraints: str = ""


class MarketEvent(_Wire):
    """A proposal, or word that one was rejected."""

    event_type: str
    proposal: Proposal | None = None
    proposal_id: str | None = None
    reason: dict[str, Any] | None = None


class ScannedOffer(_Wire):
    properties: dict[str, Any]
    constraints: str = ""
    offer_id: str = ""
    provider_id: str = ""
    timestamp: datetime | None = None


class ScanEvent(_Wire):
    """What a scan gives: the offer itself, or wrapped in an event, by release."""

    offer: ScannedOffer | None = None
    properties: dict[str, Any] | None = None
    provider_id: str = ""
    offer_id: str = ""


class OwnDemand(_Wire):
    demand_id: str
    properties: dict[str, Any]


class AgreementDemand(_Wire):
    properties: dict[str, Any]
    requestor_id: str


class AgreementOffer(_Wire):
    properties: dict[str, Any]
    provider_id: str


class Agreement(_Wire):
    agreement_id: str
    demand: AgreementDemand
    offer: AgreementOffer
    state: str
    valid_to: datetime
    timestamp: datetime
    approved_date: datetime | None = None
    app_session_id: str | None = None


class AgreementListed(_Wire):
    id: str
    timestamp: datetime
    approved_date: datetime | None = None
    role: Literal["Requestor", "Provider"]


class Termination(_Wire):
    """Who ended an agreement, when, and why."""

    event_date: datetime
    terminator: str | None = None
    reason: dict[str, Any] | None = None


class Allocation(_Wire):
    allocation_id: str
    payment_platform: str
    total_amount: Decimal
    spent_amount: Decimal
    remaining_amount: Decimal
    timeout: datetime | None = None


class Property(_Wire):
    key: str
    value: Any


class Decorations(_Wire):
    properties: list[Property]
    constraints: list[str]


class ActivityCreated(_Wire):
    activity_id: str


class ActivityState(_Wire):
    state: tuple[str, str | None]
    reason: str | None = None
    error_message: str | None = None


class ActivityUsage(_Wire):
    current_usage: list[Decimal] | None = None
    timestamp: int = 0


class CommandResult(_Wire):
    """One finished command of a batch."""

    index: int
    result: Literal["Ok", "Error"]
    stdout: str | list[int] | None = None
    stderr: str | list[int] | None = None
    message: str | None = None
    is_batch_finished: bool = False


class DebitNote(_Wire):
    debit_note_id: str
    recipient_id: str
    agreement_id: str
    activity_id: str
    total_amount_due: Decimal
    usage_counter_vector: list[Decimal] | None = None
    timestamp: datetime
    status: str


class Invoice(_Wire):
    invoice_id: str
    recipient_id: str
    agreement_id: str
    activity_ids: list[str] = Field(default_factory=list)
    amount: Decimal
    timestamp: datetime
    status: str


class NetStatus(_Wire):
    node_id: str
    sessions: int = 0


class VersionInfo(_Wire):
    version: str


class Version(_Wire):
    current: VersionInfo
