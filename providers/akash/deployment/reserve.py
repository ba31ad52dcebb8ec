"""Phase one: a deployment under the lease's mark, and bids for it.

The Console has no key that makes a creation safe to repeat: each call makes another deployment.
So a creation whose outcome is not known is never sent again. It is looked for by its mark, for as
long as the Console may still be at it.
"""

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from weakref import WeakValueDictionary

from cortex.domain.leases import LeaseRef
from cortex.domain.money import Money
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration
from providers.akash.callback import Callback
from providers.akash.config import AkashConfig
from providers.akash.console import refusals, wire
from providers.akash.console.client import Console
from providers.akash.deployment.deployments import Deployments
from providers.akash.market import Market, able, nobody
from providers.akash.money import UACT
from providers.akash.offers import Offers
from providers.akash.sdl import secrets
from providers.akash.sdl.manifest import encrypt_manifest, version
from providers.akash.sdl.render import Rendered, render
from providers.akash.sdl.rules import too_large
from providers.base import Report
from providers.errors import (
    InsufficientFunds,
    InvalidSpec,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    Unavailable,
)
from providers.http import Refused

_KEPT = 500
_TWO_DAYS = 48
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class _Tender:
    """What is put out to bids: the job, the most per hour, the cap on bids."""

    spec: JobSpec
    key: str
    price: Money | None
    cap: Decimal
    rendered: Rendered
    hidden: secrets.Hidden | None = None
    """The SDL without its secrets, where they are sealed."""


class Reserver:
    """Makes deployments and collects bids for them."""

    def __init__(
        self,
        console: Console,
        config: AkashConfig,
        deployments: Deployments,
        market: Market,
        offers: Offers,
        callback: Callback,
    ) -> None:
        self._console = console
        self._config = config
        self._deployments = deployments
        self._market = market
        self._offers = offers
        self._callback = callback
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._manifests: OrderedDict[str, str] = OrderedDict()
        self._unanswered: dict[str, float] = {}

    def require_answered(self, key: str) -> None:
        """Go on only if nothing that this process has asked for can appear on the chain any more.

        A step that is cancelled while the Console works leaves nobody who waits for its answer.

        Raises:
            Unavailable: a deployment of this key may still be made.
        """
        if time.monotonic() < self._unanswered.get(key, 0.0):
            raise Unavailable(f"a deployment of lease `{key}` was asked for and may still be made")

    async def reserve(
        self, spec: JobSpec, key: str, price: Money | None, report: Report
    ) -> tuple[LeaseRef, Decimal]:
        """The reference of a deployment that has a bid, and the bid's price per block.

        Raises:
            InvalidSpec, Unsuitable, NoCapacity, InsufficientFunds: nothing is left behind.
            OutcomeUnknown, Unavailable: `find` tells.
        """
        await self._console.look()
        cap = self._offers.cap(spec, price)
        rendered = render(spec, key, self._config, cap, self._callback.urls(key, spec))
        tender = _Tender(spec, key, price, cap, rendered, self._hidden(spec, rendered))
        if too_large(tender.rendered.text):
            raise InvalidSpec("the job is larger than Akash takes (512 KiB with all variables)")
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            return await self._reserve(tender, report)

    def _hidden(self, spec: JobSpec, rendered: Rendered) -> secrets.Hidden | None:
        """The job with its secrets taken out; None where it has none, or nobody would seal them."""
        if not self._console.extended or self._config.seal_secrets == "never":
            return None
        hidden = secrets.hide(rendered, secrets.secret_names(spec))
        return hidden if hidden.values else None

    def manifest(self, dseq: str) -> str | None:
        """A manifest that this process has got, for a lease whose reference lacks it."""
        return self._manifests.get(dseq)

    async def _ours(self, tender: _Tender) -> wire.Detail | None:
        rendered = tender.rendered
        return await self._deployments.sole_made(rendered.marker, version(rendered.manifest))

    async def _reserve(self, tender: _Tender, report: Report) -> tuple[LeaseRef, Decimal]:
        detail = await self._existing(tender)
        waited = 0.0
        if detail is None:
            await report("creating a deployment on Akash")
            dseq = await self._create(tender, report)
        else:
            dseq, waited = detail.dseq, _age(detail.dseq)
            if detail.lease is not None:  # it went live already
                return self._ref(tender, dseq, detail.lease.id), detail.lease.price.amount
            self._recover(tender, detail)
        bid = await self._bid(tender, dseq, waited, report)
        return self._ref(tender, dseq, bid.id), bid.price.amount

    async def _existing(self, tender: _Tender) -> wire.Detail | None:
        key = tender.key
        made = await self._ours(tender)
        if made is not None:
            return made
        closed = await self._deployments.closed(key)
        if closed is None:
            return None
        detail = await self._console.detail(closed[0])
        if detail is None or detail.lease is None:
            raise NoCapacity(f"lease `{key}` was cancelled before it was prepared")
        return detail

    def _recover(self, tender: _Tender, detail: wire.Detail) -> None:
        """The manifest of a deployment that was made before: ours, if its hash agrees."""
        ours = tender.rendered.manifest
        if tender.hidden is not None:
            return  # the Console keeps what to run, with the secrets that it alone can read
        if detail.dseq not in self._manifests and version(ours) == detail.deployment.hash:
            self._keep(detail.dseq, ours)

    async def _create(self, tender: _Tender, report: Report) -> str:
        self._unanswered[tender.key] = math.inf
        try:
            dseq = await self._created(tender, report)
        except asyncio.CancelledError:
            self._give_up(tender.key)
            raise
        except Exception:
            del self._unanswered[tender.key]
            raise
        del self._unanswered[tender.key]
        return dseq

    def _give_up(self, key: str) -> None:
        """Nobody waits for the answer any more: what it is about has its time to appear."""
        now = time.monotonic()
        left = {each: until for each, until in self._unanswered.items() if until > now}
        self._unanswered = {**left, key: now + self._config.search_window.total_seconds()}

    async def _created(self, tender: _Tender, report: Report) -> str:
        try:
            made, sealed = await self._made(tender)
        except OutcomeUnknown as error:
            await report("the answer of the Console was lost; looking for what it has made")
            return await self._look_for(tender, error)
        except InsufficientFunds as error:
            raise await self._offers.explained(error) from None
        if not sealed:
            self._keep(made.dseq, made.manifest)
        self._deployments.learn(made.dseq, str(tender.rendered.marker))
        kept = await self._ours(tender)
        return kept.dseq if kept is not None else made.dseq

    async def _made(self, tender: _Tender) -> tuple[wire.Created, bool]:
        """Create it; whether its secrets were sealed.

        Asked a second time where the refusal is about a key, or a Console, that was replaced.
        """
        body = await self._body(tender)
        try:
            return await self._console.create(body), "sealedSecrets" in body
        except Refused as refused:
            if not refusals.other_key(refused) and not await self._replaced(refused):
                raise refusals.of_creation(refused) from None
        hidden = self._hidden(tender.spec, tender.rendered)
        body = await self._body(replace(tender, hidden=hidden))
        try:
            return await self._console.create(body), "sealedSecrets" in body
        except Refused as refused:
            raise refusals.of_creation(refused) from None

    async def _replaced(self, refused: Refused) -> bool:
        """Whether a refusal came from another kind of Console than was known."""
        known = self._console.extended
        if refusals.of_account(refused) is not None:
            return False
        return await self._console.look(again=True) != known

    async def _look_for(self, tender: _Tender, error: OutcomeUnknown) -> str:
        """Adopt what an unanswered call has made, or be sure that it has made nothing.

        The Console may send the transaction after the connection is gone: one look is not enough.
        """
        deadline = time.monotonic() + self._config.search_window.total_seconds()
        while True:
            try:
                made = await self._ours(tender)
            except Unavailable:
                made = None
                if time.monotonic() > deadline:
                    raise error from None
            if made is not None:
                self._recover(tender, made)
                return made.dseq
            if time.monotonic() > deadline:
                window = format_duration(self._config.search_window)
                raise NoCapacity(f"{error}; within {window} nothing of it appeared on the chain")
            await asyncio.sleep(self._config.bid_poll.total_seconds())

    async def _body(self, tender: _Tender) -> dict[str, Any]:
        if not self._console.extended:
            return {"sdl": tender.rendered.text, "deposit": float(self._deposit(tender))}
        window = self._config.runtime_window.total_seconds() / 3600
        body: dict[str, Any] = {
            "sdl": tender.rendered.text,
            "name": str(tender.rendered.marker),
            "runtimeLimitHours": min(_TWO_DAYS, max(1, round(window))),
        }
        if tender.hidden is None:
            return body
        context = await self._console.seal_context()
        if context is None:  # there were some with limits and without seals
            return body
        body["sdl"] = tender.hidden.text
        body["sealedSecrets"] = secrets.seal(tender.hidden, *context)
        return body

    def _deposit(self, tender: _Tender) -> Decimal:
        """Enough for the first hour at the highest price that we take; what is left comes back."""
        least = self._config.min_deposit
        if tender.price is None:
            return least
        span = min(self._config.deposit_for, tender.spec.duration)
        wanted = tender.price.amount * Decimal(span.total_seconds()) / 3600
        return max(least, wanted.quantize(_CENT))

    async def _bid(self, tender: _Tender, dseq: str, before: float, report: Report) -> wire.Bid:
        """The best bid, once there was time for a few. `before`: seconds that bids had already.

        Raises:
            NoCapacity: there is none; the deployment is closed.
        """
        opened = time.monotonic() - min(before, self._config.bid_wait.total_seconds())
        told = -1
        while True:
            bids = await self._console.bids(dseq)
            good = await self._market.ranked(bids, tender.spec.placement.regions)
            waited = time.monotonic() - opened
            if good and waited >= self._config.bid_wait.total_seconds():
                self._market.heard(tender.spec)
                return good[0]
            if waited >= self._config.bid_deadline.total_seconds():
                break
            if len(good) != told:
                told = len(good)
                await report(f"waiting for bids of Akash's providers ({told} so far)")
            await asyncio.sleep(self._config.bid_poll.total_seconds())
        await self._deployments.close(dseq)
        if not bids:
            self._market.silent(tender.spec, tender.cap)
        if any(bid.state == "open" for bid in bids):
            raise NoCapacity(
                "all bids came from providers that are offline, not audited, avoided by the "
                "configuration, or in other regions"
            )
        raise NoCapacity(nobody(tender.spec, tender.cap, await self._able(tender), self._config))

    async def _able(self, tender: _Tender) -> int:
        try:
            return len(await able(self._console, tender.rendered.sdl))
        except ProviderError:
            return 0

    def _ref(self, tender: _Tender, dseq: str, bid: wire.BidId) -> LeaseRef:
        data = {**tender.rendered.marker.data, **self._callback.data(tender.spec)}
        manifest = self._manifests.get(dseq)
        if manifest is not None:
            key = self._config.api_key.get_secret_value()
            data["manifest"] = encrypt_manifest(manifest, key, tender.key)
        data["bid"] = f"{bid.gseq}/{bid.oseq}/{bid.provider}"
        if tender.spec.placement.regions:
            data["regions"] = ",".join(tender.spec.placement.regions)
        if tender.price is not None:
            hours = Decimal(tender.spec.duration.total_seconds()) / 3600
            most = tender.price.amount * hours
            if tender.spec.budget is not None and tender.spec.budget.currency == "USD":
                most = min(most, tender.spec.budget.amount)
            data["most"] = f"{max(most, self._deposit(tender)) * UACT:.0f}"
        return LeaseRef(key=tender.key, network_id=dseq, data=data)

    def _keep(self, dseq: str, manifest: str) -> None:
        self._manifests[dseq] = manifest
        while len(self._manifests) > _KEPT:
            self._manifests.popitem(last=False)


def _age(dseq: str) -> float:
    """Seconds since a deployment was made; nought where the clocks differ."""
    return max(0.0, datetime.now(UTC).timestamp() - int(dseq) / 1000)
