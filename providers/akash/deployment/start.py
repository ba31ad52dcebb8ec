"""Phase two: a lease with one of the bidders, and the manifest to it.

Asking for a lease twice is safe: the Console makes no second one, and sends the manifest again. A
lease without a manifest is billed, so it is never left like that.
"""

import asyncio
from dataclasses import dataclass, field

from cortex.domain.leases import LeaseRef
from providers.akash.config import AkashConfig
from providers.akash.console import refusals, wire
from providers.akash.console.client import Console
from providers.akash.deployment.deployments import Deployments
from providers.akash.market import Market
from providers.akash.sdl.manifest import decrypt_manifest
from providers.errors import (
    AuthenticationFailed,
    InsufficientFunds,
    LeaseLost,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    Unavailable,
    Unsuitable,
)
from providers.http import Refused

_TRIES = 8
_DELIVERIES = 3
_PAUSE = 0.5


@dataclass
class _Try:
    """One commit: what has failed so far."""

    ref: LeaseRef
    manifest: str | None
    gone: set[str] = field(default_factory=set)
    unknown: int = 0
    undelivered: int = 0
    problem: str = ""


class Starter:
    """Turns reservations into leases."""

    def __init__(
        self, console: Console, config: AkashConfig, market: Market, deployments: Deployments
    ) -> None:
        self._console = console
        self._config = config
        self._market = market
        self._deployments = deployments

    async def start(self, ref: LeaseRef, manifest: str | None) -> None:
        """Returns when there is a lease that has its manifest, or has ended since.

        Raises:
            NoCapacity: no bidder took it; the deployment is closed.
            LeaseLost: the deployment is gone.
            Unsuitable: the provider refuses the manifest; the deployment is closed.
            InsufficientFunds: the account cannot pay; the deployment is closed.
            OutcomeUnknown: it may have started.
        """
        encrypted = ref.data.get("manifest")
        if manifest is None and encrypted is not None:
            manifest = decrypt_manifest(encrypted, self._config.api_key.get_secret_value(), ref.key)
        work = _Try(ref, manifest)
        for _ in range(_TRIES):
            if await self._step(work):
                return
            await asyncio.sleep(_PAUSE)
        if work.unknown:
            raise OutcomeUnknown(work.problem)
        await self._give_up(work, NoCapacity(work.problem or "no bidder took the job"))

    async def _step(self, work: _Try) -> bool:
        detail = await self._console.detail(work.ref.network_id)
        if detail is None:
            raise LeaseLost(f"the network knows nothing of lease `{work.ref.key}`")
        lease = detail.lease
        if lease is not None and (not lease.live or not detail.active or _delivered(lease)):
            return True  # it runs, or has ended
        if not detail.active:
            raise LeaseLost(f"the deployment of lease `{work.ref.key}` was closed")
        if lease is not None and work.manifest is None and not self._console.extended:
            await self._give_up(work, NoCapacity("the manifest of a half-made lease is lost"))
        bid = lease.id if lease is not None else await self._pick(work)
        return await self._ask(work, bid) if bid is not None else False

    async def _pick(self, work: _Try) -> wire.BidId | None:
        """The bid that was reserved while it stands, else the best of the others. None where
        somebody else was faster: then the deployment is to be looked at again.
        """
        regions = [name for name in work.ref.data.get("regions", "").split(",") if name]
        bids = await self._console.bids(work.ref.network_id)
        good = await self._market.ranked(bids, regions)
        good = [bid for bid in good if bid.id.provider not in work.gone]
        reserved = work.ref.data.get("bid")
        for bid in good:
            if f"{bid.id.gseq}/{bid.id.oseq}/{bid.id.provider}" == reserved:
                return bid.id
        if not good:
            detail = await self._console.detail(work.ref.network_id)
            if detail is None or detail.lease is not None or not detail.active:
                return None
            why = work.problem or "all bids were withdrawn before the job could start"
            await self._give_up(work, NoCapacity(why))
        return good[0].id

    async def _ask(self, work: _Try, bid: wire.BidId) -> bool:
        try:
            await self._console.lease(work.manifest, bid)
        except OutcomeUnknown as error:
            await self._unanswered(work, bid, str(error))
            return False
        except InsufficientFunds as error:
            await self._give_up(work, error)
        except AuthenticationFailed as error:
            await self._no_token(work, bid, error)
            return False
        except Refused as refused:
            await self._refused(work, bid, refused)
            return False
        return True

    async def _unanswered(self, work: _Try, bid: wire.BidId, problem: str) -> None:
        """Nothing is known: the next step looks at the deployment, and asks again."""
        work.problem = problem
        work.unknown += 1
        if work.unknown < _DELIVERIES:
            return
        detail = await self._console.detail(bid.dseq)
        lease = detail.lease if detail is not None else None
        if lease is None:
            self._pass_over(work, bid)
        elif lease.live and not _delivered(lease):
            await self._undelivered(work, bid)

    async def _undelivered(self, work: _Try, bid: wire.BidId) -> None:
        """There is a lease, it is billed, and its provider does not know what to run."""
        self._market.failed(bid.provider)
        label = await self._market.label(bid.provider)
        why = f"provider {label} took the lease but not what to run; it was closed again"
        await self._give_up(work, NoCapacity(why))

    async def _refused(self, work: _Try, bid: wire.BidId, refused: Refused) -> None:
        text, code = str(refused).lower(), refusals.code(refused)
        work.problem = str(refused)
        account = refusals.of_account(refused)
        if account is not None:
            await self._give_up(work, account)
        elif code == refusals.NOT_DELIVERED and refused.status in (400, 422):
            await self._give_up(work, Unsuitable(f"Akash does not accept the job: {refused}"))
        elif code == refusals.NOT_DELIVERED:
            await self._again(work, bid)
        elif code == refusals.UNREACHABLE:
            self._pass_over(work, bid)
        elif refused.status == 404:
            await self._not_found(work, bid)
        elif "deployment closed" in text:
            raise LeaseLost(f"the deployment of lease `{work.ref.key}` was closed")
        elif "no longer open" in text or "matched or closed" in text:
            work.gone.add(bid.provider)
        elif work.manifest is None and refused.status in (400, 422):
            why = "what to run was lost with the process that reserved it; reserve again"
            await self._give_up(work, NoCapacity(why))
        elif refused.status in (400, 422):
            await self._give_up(work, Unsuitable(f"Akash does not accept the job: {refused}"))
        else:
            self._pass_over(work, bid)

    async def _no_token(self, work: _Try, bid: wire.BidId, error: AuthenticationFailed) -> None:
        """Our key is refused; or, where there is a lease by now, the Console's own token at the
        provider: older Consoles hand that answer on as theirs.
        """
        work.problem = str(error)
        detail = await self._console.detail(bid.dseq)
        if detail is None or detail.lease is None or not detail.lease.live:
            raise error
        await self._again(work, bid)

    async def _again(self, work: _Try, bid: wire.BidId) -> None:
        """The lease exists and is billed: the same is sent again, and at last it is closed."""
        work.undelivered += 1
        if work.undelivered >= _DELIVERIES:
            await self._undelivered(work, bid)

    async def _not_found(self, work: _Try, bid: wire.BidId) -> None:
        """Either there is no such deployment, or its provider has not heard of the lease yet."""
        detail = await self._console.detail(bid.dseq)
        if detail is None or not detail.active:
            raise LeaseLost(f"the deployment of lease `{work.ref.key}` was closed")
        if detail.lease is not None and detail.lease.live:
            await self._again(work, bid)
        else:
            self._pass_over(work, bid)

    def _pass_over(self, work: _Try, bid: wire.BidId) -> None:
        self._market.failed(bid.provider)
        work.gone.add(bid.provider)
        work.unknown = 0

    async def _give_up(self, work: _Try, error: ProviderError) -> None:
        """Leave nothing behind that is billed, and say why."""
        try:
            await self._deployments.close(work.ref.network_id)
        except Unavailable as unclosed:
            raise OutcomeUnknown(f"{error}; {unclosed}") from None
        raise error


def _delivered(lease: wire.Lease) -> bool:
    """Whether the provider has the manifest: it knows the services then."""
    return lease.status is not None and bool(lease.status.services)
