"""The Akash Console's API, call by call.

Reads raise `Unavailable` where nothing is known; effects raise `OutcomeUnknown` where their
answer was lost. What a refusal means is said by the caller, who knows what it was doing.

There are two Consoles: that of 2026-08-22, and a newer one, which funds deployments itself and has
names, search, runtime limits, sealed secrets and closes in the background. Which it is, is asked
once an hour, and again where a call that only the newer one has meets 404.
"""

import email.utils
import time
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from providers.akash.config import AkashConfig
from providers.akash.console import wire
from providers.akash.console.refusals import NOT_DELIVERED, UNREACHABLE
from providers.errors import AuthenticationFailed, OutcomeUnknown, ProviderError, Unavailable
from providers.http import HttpClient, Refused

WHO = "the Akash Console"
_CREATE = timedelta(seconds=90)
_LEASE = timedelta(seconds=180)
_CLOSE = timedelta(seconds=60)
_PAGE = 100
_KIND_KEPT = timedelta(hours=1).total_seconds()
T = TypeVar("T")


class Console:
    """One account at the Console.

    `address` and `extended` (whether it is the newer Console) are known after `open`.
    """

    def __init__(
        self, config: AkashConfig, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._config = config
        self.http = HttpClient(
            config.console_url,
            who=WHO,
            headers={"x-api-key": config.api_key.get_secret_value()},
            transport=transport,
        )
        self.address = ""
        self.denom = "uact"
        self.extended = config.features == "extended"
        self._asked_at: float | None = None
        self._doubted = False

    async def aclose(self) -> None:
        await self.http.aclose()

    async def open(self) -> None:
        """Check the key, learn whose wallet it is and what this Console can do."""
        me = _read(wire.Me, _data(await self.http.get("/v1/user/me")))
        raw = _data(await self.http.get("/v1/wallets", params={"userId": me.id}))
        wallets = [w for w in _read(list[wire.Wallet], raw) if w.address]
        if not wallets:
            raise AuthenticationFailed(
                "the Akash account has no wallet yet: open the Console once and add credits"
            )
        self.address = wallets[0].address or ""
        self.denom = wallets[0].denom
        await self.look(again=True)

    async def look(self, *, again: bool = False) -> bool:
        """Whether this is the newer Console; asked anew after an hour, after a doubt, or `again`.

        Raises:
            Unavailable: it was never told, and is not told now.
        """
        now, asked = time.monotonic(), self._asked_at
        fresh = asked is not None and now - asked < _KIND_KEPT and not self._doubted
        if self._config.features != "auto" or (fresh and not again):
            return self.extended
        try:
            await self.http.get("/v1/deployment-funding-config")  # came with all the rest
            self.extended = True
        except Refused:
            self.extended = False
        except ProviderError:
            if asked is None:
                raise
            return self.extended
        self._asked_at, self._doubted = now, False
        return self.extended

    def _doubt(self, refused: Refused) -> None:
        """A call of the newer Console was refused: perhaps it is an older one again."""
        self._doubted = self._doubted or refused.status == 404

    # Deployments

    async def create(self, body: dict[str, Any]) -> wire.Created:
        raw = await self.http.send("POST", "/v1/deployments", json={"data": body}, timeout=_CREATE)
        return _effect(wire.Created, raw)

    async def active(self) -> list[wire.Detail]:
        """All deployments that are active."""
        listed: list[wire.Detail] = []
        while True:
            params: dict[str, Any] = {"skip": len(listed), "limit": _PAGE}
            if self.extended:
                params["state"] = "active"
            raw = _data(await self.http.get("/v1/deployments", params=params))
            page = _read(wire.DeploymentList, raw)
            listed += page.deployments
            if not page.pagination.has_more or not page.deployments:
                return [detail for detail in listed if detail.active]

    async def closed_by_name(self, part: str) -> list[wire.Detail]:
        """Closed deployments with this in their names; extended Consoles only."""
        params: dict[str, Any] = {"state": "closed", "search": part, "limit": _PAGE}
        raw = _data(await self.http.get("/v1/deployments", params=params))
        return _read(wire.DeploymentList, raw).deployments

    async def detail(self, dseq: str) -> wire.Detail | None:
        """One deployment, with what its provider says; None if there is none of this number."""
        try:
            raw = await self.http.get(f"/v1/deployments/{dseq}")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise Unavailable(str(refused)) from None
        return _read(wire.Detail, _data(raw))

    async def close(self, dseq: str) -> str | None:
        """Close it. The newer Console does that in the background: the activity's number, then.

        Raises:
            Unavailable: it is not closed, and why; the escrow cannot be settled yet, for instance.
        """
        params = {"async": "true"} if self.extended else None
        path = f"/v1/deployments/{dseq}"
        try:
            raw = await self.http.send("DELETE", path, params=params, timeout=_CLOSE)
        except Refused as refused:
            if refused.status == 404 or "deployment closed" in str(refused).lower():
                return None
            raise Unavailable(f"the deployment could not be closed: {refused}") from None
        closing = _effect(wire.Closing, raw) if raw is not None else wire.Closing()
        return closing.activity_id

    async def activity(self, number: str) -> wire.Activity | None:
        """How something does that the newer Console does in the background; None: not known."""
        try:
            raw = await self.http.get(f"/v1/activities/{number}")
        except Refused as refused:
            self._doubt(refused)
            return None
        return _read(wire.Activity, _data(raw))

    async def rename(self, dseq: str, name: str) -> None:
        """Name a deployment that has no name; newer Consoles only. Changes nothing of what runs."""
        try:
            body = {"data": {"name": name}}
            await self.http.send("PATCH", f"/v1/deployments/{dseq}", json=body)
        except Refused as refused:
            self._doubt(refused)
            raise

    async def seal_context(self) -> tuple[wire.SealContext, int] | None:
        """What secrets are sealed with, and the Console's clock (seconds since 1970).

        None where the Console seals nothing.

        Raises:
            Unavailable: it cannot seal now.
        """
        try:
            answer = await self.http.call("GET", "/v1/sdl-secrets-context")
        except Refused as refused:
            self._doubt(refused)
            if refused.status == 404:
                return None
            raise Unavailable(str(refused)) from None
        raw = self.http.json(answer)
        inner = raw.get("data", raw) if isinstance(raw, dict) else raw  # its source has both forms
        return _read(wire.SealContext, inner), _clock(answer)

    async def bids(self, dseq: str) -> list[wire.Bid]:
        try:
            raw = await self.http.get("/v1/bids", params={"dseq": dseq})
        except Refused as refused:
            raise Unavailable(str(refused)) from None
        return [entry.bid for entry in _read(list[wire.BidItem], _data(raw))]

    async def lease(self, manifest: str | None, bid: wire.BidId) -> wire.Detail:
        wanted = {"dseq": bid.dseq, "gseq": bid.gseq, "oseq": bid.oseq, "provider": bid.provider}
        body: dict[str, Any] = {"leases": [wanted]}
        if manifest is not None:
            body["manifest"] = manifest
        codes = (NOT_DELIVERED, UNREACHABLE)
        answer = await self.http.call(
            "POST", "/v1/leases", effect=True, json=body, timeout=_LEASE, codes=codes
        )
        return _effect(wire.Detail, self.http.json(answer, effect=True))

    async def deposit(self, dseq: str, usd: Decimal) -> None:
        body = {"data": {"dseq": dseq, "deposit": float(usd)}}
        await self.http.send("POST", "/v1/deposit-deployment", json=body, timeout=_CLOSE)

    async def settings(self, dseq: str) -> wire.Settings | None:
        try:
            raw = await self.http.get(f"/v2/deployment-settings/{dseq}")
        except Refused:
            return None
        return _read(wire.Settings, _data(raw))

    async def limit_runtime(self, dseq: str, hours: int) -> None:
        """Let it end so many hours after its lease began; longer than before by 48 at most."""
        body = {"data": {"runtimeLimitHours": hours}}
        await self.http.send("PATCH", f"/v2/deployment-settings/{dseq}", json=body)

    async def token(self, provider: str, scope: Sequence[str], ttl: timedelta) -> str:
        """A token for one provider's gateway, good for this scope only."""
        permission = {"provider": provider, "access": "scoped", "scope": list(scope)}
        leases = {"access": "granular", "permissions": [permission]}
        body = {"data": {"ttl": int(ttl.total_seconds()), "leases": leases}}
        raw = _data(await self._ask("/v1/create-jwt-token", body))
        token = raw.get("token") if isinstance(raw, dict) else None
        if not isinstance(token, str):
            raise Unavailable(f"{WHO} gave no token for the provider's gateway")
        return token

    # What anybody may read

    async def height(self) -> wire.Block:
        blocks = _read(list[wire.Block], await self.http.get("/v1/blocks", params={"limit": 1}))
        if not blocks:
            raise Unavailable(f"{WHO} knows no block of the chain")
        return blocks[0]

    async def balances(self) -> wire.Balances:
        """Credits that are free, and those locked in deployments."""
        raw = await self.http.get("/v1/balances", params={"address": self.address})
        return _read(wire.Balances, _data(raw))

    async def public_detail(self, dseq: str) -> wire.PublicDetail | None:
        try:
            raw = await self.http.get(f"/v1/deployment/{self.address}/{dseq}")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise Unavailable(str(refused)) from None
        return _read(wire.PublicDetail, raw)

    async def closed(self, skip: int) -> wire.PublicList:
        """A page of closed deployments, the newest first."""
        path = f"/v1/addresses/{self.address}/deployments/{skip}/{_PAGE}"
        params = {"status": "closed", "reverseSorting": "true"}
        return _read(wire.PublicList, await self.http.get(path, params=params))

    async def providers(self) -> list[wire.ProviderInfo]:
        return _read(list[wire.ProviderInfo], await self.http.get("/v1/providers"))

    async def provider(self, address: str) -> wire.ProviderInfo | None:
        try:
            raw = await self.http.get(f"/v1/providers/{address}")
        except Refused as refused:
            if refused.status in (400, 404):
                return None
            raise Unavailable(str(refused)) from None
        return _read(wire.ProviderInfo, raw)

    async def regions(self) -> list[wire.Region]:
        return _read(list[wire.Region], await self.http.get("/v1/provider-regions"))

    async def gpu_prices(self) -> wire.GpuPrices:
        return _read(wire.GpuPrices, await self.http.get("/v1/gpu-prices"))

    async def monthly(self, specs: Sequence[dict[str, int]]) -> list[Decimal]:
        """What the network asks for these resources, USD a month."""
        raw = await self._ask("/v1/pricing", list(specs))
        try:
            return [Decimal(str(price["akash"])) for price in raw]
        except (TypeError, KeyError, ArithmeticError) as error:
            raise Unavailable(f"{WHO} gave no prices") from error

    async def _ask(self, path: str, body: Any) -> Any:
        """A POST that only asks: nothing is left behind when its answer is lost."""
        try:
            return self.http.json(await self.http.call("POST", path, json=body))
        except Refused as refused:
            raise Unavailable(str(refused)) from None

    async def screen(self, body: dict[str, Any]) -> list[wire.Screened]:
        """Who could run it."""
        raw = await self._ask("/v1/bid-screening", body)
        return _read(wire.Screening, raw).providers


def _clock(answer: httpx.Response) -> int:
    """The Console's time by the header of its answer; ours where there is none."""
    try:
        return int(email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp())
    except (KeyError, ValueError):
        return int(time.time())


def _data(raw: Any) -> Any:
    if not isinstance(raw, dict) or "data" not in raw:
        raise Unavailable(f"{WHO} answers without `data`")
    return raw["data"]


def _read(model: type[T], raw: Any) -> T:
    try:
        return TypeAdapter(model).validate_python(raw)
    except ValidationError as error:
        raise wire.damaged(error) from None


def _effect(model: type[T], raw: Any) -> T:
    """The answer to something that has happened: one that is damaged leaves it open what."""
    try:
        return _read(model, _data(raw))
    except Unavailable as error:
        raise OutcomeUnknown(str(error)) from None
