"""The Akash Console's API, call by call.

Reads raise `Unavailable` where nothing is known; effects raise `OutcomeUnknown` where their
answer was lost. What a refusal means is said by the caller, who knows what it was doing.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from providers.akash import wire
from providers.akash.config import AkashConfig
from providers.errors import AuthenticationFailed, OutcomeUnknown, Unavailable
from providers.http import HttpClient, Refused

WHO = "the Akash Console"
_CREATE = timedelta(seconds=90)
_LEASE = timedelta(seconds=180)
_CLOSE = timedelta(seconds=60)
_PAGE = 100
T = TypeVar("T")


class Console:
    """One account at the Console. `address` and `extended` are known after `open`."""

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
        if self._config.features == "auto":
            self.extended = await self._is_extended()

    async def _is_extended(self) -> bool:
        """Whether there are names and runtime limits: they came with this public call."""
        try:
            await self.http.get("/v1/deployment-funding-config")
        except Refused:
            return False
        return True

    # Deployments

    async def create(self, body: dict[str, Any]) -> wire.Created:
        raw = await self.http.send("POST", "/v1/deployments", json={"data": body}, timeout=_CREATE)
        return _effect(wire.Created, raw)

    async def active(self) -> list[wire.Detail]:
        """All deployments that are active."""
        found: list[wire.Detail] = []
        while True:
            params: dict[str, Any] = {"skip": len(found), "limit": _PAGE}
            if self.extended:
                params["state"] = "active"
            raw = _data(await self.http.get("/v1/deployments", params=params))
            page = _read(wire.DeploymentList, raw)
            found += page.deployments
            if not page.pagination.has_more or not page.deployments:
                return [item for item in found if item.active]

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

    async def close(self, dseq: str) -> bool:
        """Close it. False if the network could not settle its escrow yet: try again."""
        try:
            await self.http.send("DELETE", f"/v1/deployments/{dseq}", timeout=_CLOSE)
        except Refused as refused:
            text = str(refused).lower()
            if refused.status == 404 or "deployment closed" in text:
                return True
            if "cannot be settled yet" in text:
                return False
            raise Unavailable(f"the deployment could not be closed: {refused}") from None
        return True

    async def bids(self, dseq: str) -> list[wire.Bid]:
        try:
            raw = await self.http.get("/v1/bids", params={"dseq": dseq})
        except Refused as refused:
            raise Unavailable(str(refused)) from None
        return [item.bid for item in _read(list[wire.BidItem], _data(raw))]

    async def lease(self, manifest: str | None, bid: wire.BidId) -> wire.Detail:
        wanted = {"dseq": bid.dseq, "gseq": bid.gseq, "oseq": bid.oseq, "provider": bid.provider}
        body: dict[str, Any] = {"leases": [wanted]}
        if manifest is not None:
            body["manifest"] = manifest
        raw = await self.http.send("POST", "/v1/leases", json=body, timeout=_LEASE)
        return _effect(wire.Detail, raw)

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

    async def balance(self) -> Decimal:
        """Credits that are free, USD. The Console tells millionths."""
        raw = await self.http.get("/v1/balances", params={"address": self.address})
        return _read(wire.Balances, _data(raw)).balance / 1_000_000

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
            return [Decimal(str(item["akash"])) for item in raw]
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
