"""Agreements at the daemon: how a lease is found, ended and told apart from others' leases."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef
from providers.errors import OutcomeUnknown, ProviderError, Unavailable
from providers.golem import demand as names
from providers.golem.config import GolemConfig
from providers.golem.daemon import Daemon
from providers.golem.terms import Terms
from providers.golem.wire import Agreement, AgreementListed, Termination

MARKET = "/market-api/v1"
# An id that the daemon cannot read is 400, one that it does not know is 404.
_NO_SUCH = (400, 404)
_REASON_KEY = "dev.cortex."


@dataclass(frozen=True)
class End:
    """How a run ended, as it is written into the reason of the agreement's termination.

    The network forgets everything of a run but this: it is where an exit code can be read after
    the lease was cancelled.
    """

    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""

    def reason(self) -> dict[str, str]:
        told: dict[str, str] = {
            "message": self.message or "job finished",
            "golem.requestor.code": "Success" if self.exit_code is not None else "Cancelled",
        }
        if self.exit_code is not None:
            told[f"{_REASON_KEY}exit"] = str(self.exit_code)
        for name, moment in (("started", self.started_at), ("finished", self.finished_at)):
            if moment is not None:
                told[f"{_REASON_KEY}{name}"] = moment.isoformat()
        return told

    @classmethod
    def of(cls, reason: dict[str, Any] | None) -> "End":
        said = reason or {}
        code = str(said.get(f"{_REASON_KEY}exit", ""))
        return cls(
            exit_code=int(code) if code.lstrip("-").isdigit() else None,
            started_at=_moment(said.get(f"{_REASON_KEY}started")),
            finished_at=_moment(said.get(f"{_REASON_KEY}finished")),
            message=str(said.get("message") or "")[:300],
        )


class Agreements:
    """Everything about agreements that needs no provider to answer, and their end."""

    def __init__(self, daemon: Daemon, config: GolemConfig, account: str) -> None:
        self._daemon = daemon
        self._config = config
        self._account = account

    async def get(self, agreement_id: str) -> Agreement | None:
        if not agreement_id or not agreement_id.isalnum():
            return None
        return await self._daemon.find(
            Agreement, f"{MARKET}/agreements/{agreement_id}", gone=_NO_SUCH
        )

    async def under(self, key: str) -> Agreement | None:
        """The agreement that stands for this lease: live before ended, the oldest of its kind.

        Proposals that were turned down left agreements under the same key; they stand for nothing.
        """
        ours = [
            agreement
            for agreement in await self._listed(appSessionId=key)
            if self._ours(agreement, key)
        ]
        ranked = [agreement for agreement in ours if agreement.state in _RANK]
        ranked.sort(key=lambda agreement: (_RANK[agreement.state], agreement.timestamp))
        return ranked[0] if ranked else None

    async def others(self, key: str, chosen: str) -> list[Agreement]:
        """Further live agreements of this lease: a race between two machines made them."""
        ours = [
            agreement
            for agreement in await self._listed(appSessionId=key)
            if self._ours(agreement, key)
        ]
        live = ("Approved", "Pending")
        return [
            agreement
            for agreement in ours
            if agreement.state in live and agreement.agreement_id != chosen
        ]

    async def owned(self) -> list[LeaseRef]:
        """The leases of this account that may cost something."""
        refs: dict[str, LeaseRef] = {}
        for state in ("Approved", "Pending"):
            for agreement in await self._listed(state=state):
                key = agreement.app_session_id or ""
                if agreement.state == state and is_lease_key(key) and self._ours(agreement, key):
                    refs.setdefault(key, ref_of(agreement))
        return list(refs.values())

    async def confirm(self, agreement_id: str, key: str) -> None:
        """Send it to the provider under the lease's key. A repeat does no harm."""
        await self._daemon.effect(
            "POST",
            f"{MARKET}/agreements/{agreement_id}/confirm",
            params={"appSessionId": key},
            expect=(410,),
        )

    async def approved(self, agreement_id: str, seconds: float) -> bool | None:
        """Wait for the provider's word: yes, no, or None where it has not come."""
        try:
            answer = await self._daemon.effect(
                "POST",
                f"{MARKET}/agreements/{agreement_id}/wait",
                params={"timeout": seconds},
                expect=(408, 410),
                wait=seconds,
            )
        except OutcomeUnknown:  # waiting changes nothing: the state is read
            return None
        return None if answer.status == 408 else answer.ok

    async def withdraw(self, agreement_id: str) -> None:
        """Take back what the provider has not approved. It may approve in the meantime."""
        await self._daemon.effect(
            "POST",
            f"{MARKET}/agreements/{agreement_id}/cancel",
            {"message": "cancelled before it was approved"},
            expect=(404, 409, 410, 500),
        )

    async def terminate(self, agreement_id: str, reason: dict[str, str]) -> None:
        """End it; the provider must be reached for that.

        Raises:
            Unavailable: it is not certain yet that it has ended.
        """
        problem = ""
        try:
            answer = await self._daemon.effect(
                "POST",
                f"{MARKET}/agreements/{agreement_id}/terminate",
                reason,
                expect=(404, 410),
                wait=15,
            )
            problem = answer.message if not answer.ok else ""
        except OutcomeUnknown as error:
            problem = str(error)
        now = await self.get(agreement_id)
        if now is not None and now.state in ("Approved", "Pending"):
            raise Unavailable(f"the agreement could not be terminated yet: {problem}")

    async def termination(self, agreement_id: str) -> Termination | None:
        """Who ended it, when, and why; None where nobody did."""
        return await self._daemon.find(
            Termination,
            f"{MARKET}/agreements/{agreement_id}/terminate/reason",
            gone=_NO_SUCH,
        )

    async def _listed(self, **params: str) -> list[Agreement]:
        rows = await self._daemon.get(list[AgreementListed], f"{MARKET}/agreements", params=params)
        agreements: list[Agreement] = []
        for row in rows:
            if row.role == "Requestor":
                agreement = await self.get(row.id)
                if agreement is not None:
                    agreements.append(agreement)
        return agreements

    def _ours(self, agreement: Agreement, key: str) -> bool:
        marks = agreement.demand.properties
        return marks.get(names.KEY) == key and marks.get(names.ACCOUNT) == self._account


# Which of several agreements under one key is the lease.
_RANK = {"Approved": 0, "Pending": 1, "Terminated": 2}


def ref_of(agreement: Agreement) -> LeaseRef:
    """How the lease is found again; the same from everywhere, also after a restart."""
    marks = agreement.demand.properties
    return LeaseRef(
        key=str(marks.get(names.KEY, "")),
        network_id=agreement.agreement_id,
        data={
            "provider": agreement.offer.provider_id,
            "allocation": str(marks.get(names.ALLOCATION, "")),
        },
    )


def terms_of(agreement: Agreement) -> Terms:
    """The prices that were agreed.

    Raises:
        ProviderError: never for an agreement that we made: no other terms are accepted.
    """
    terms = Terms.of(agreement.offer.properties)
    if terms is None:
        raise ProviderError(
            f"agreement {agreement.agreement_id[:8]} has prices that cannot be reckoned"
        )
    return terms


def hourly_price(agreement: Agreement) -> Decimal:
    return terms_of(agreement).hourly


def expired(agreement: Agreement, now: datetime | None = None) -> bool:
    """Whether the provider must have ended the work by itself."""
    moment = names.expires(agreement.demand.properties)
    return moment is not None and (now or datetime.now(UTC)) > moment


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
