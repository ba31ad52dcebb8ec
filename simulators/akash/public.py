"""The part of the Console's API that anybody may read."""

import time
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from simulators.akash import answers, market
from simulators.akash.errors import Refusal, RefusalRoute
from simulators.akash.model import SimDeployment
from simulators.akash.settings import OWNER

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld


def router(world: "AkashWorld") -> APIRouter:
    made = APIRouter(prefix="/v1", route_class=RefusalRoute)
    _records(made, world)
    _chain(made, world)
    _providers(made, world)
    _prices(made, world)
    return made


def _records(made: APIRouter, world: "AkashWorld") -> None:
    """What the indexer knows: it comes a little after the chain."""

    @made.get("/deployment/{owner}/{dseq}")
    async def detail(owner: str, dseq: str) -> Any:
        item = world.book.deployments.get(dseq)
        if owner != OWNER or item is None or not _indexed(world, item):
            raise Refusal(404, "NotFoundError", "Deployment not found")
        return {
            "owner": OWNER,
            "dseq": item.dseq,
            "balance": float(item.escrow.funds),
            "denom": "uact",
            "status": item.state,
            "totalMonthlyCostUDenom": 0,
            "leases": [],
            "events": [],
            "other": {
                "deployment": {
                    "id": {"owner": OWNER, "dseq": item.dseq},
                    "state": item.state,
                    "hash": item.hash,
                    "created_at": str(item.created),
                },
                "groups": [answers.group(item)],
                "escrow_account": answers.escrow_account(item),
            },
        }

    @made.get("/addresses/{address}/deployments/{skip}/{limit}")
    async def of_address(
        address: str, skip: int, limit: int, status: str = "", reverseSorting: str = ""
    ) -> Any:
        found = [
            item
            for item in world.book.deployments.values()
            if address == OWNER and status in ("", item.state) and _indexed(world, item)
        ]
        if reverseSorting == "true":
            found.reverse()
        return {
            "count": len(found),
            "results": [_row(item) for item in found[skip : skip + limit]],
        }


def _chain(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/blocks")
    async def blocks(limit: int = 20) -> Any:
        newest, now = world.height(), world.clock.now()
        proposer = {"address": "akashvaloper1q", "operatorAddress": "akash1q", "moniker": "one"}
        return [
            {
                "height": newest - back,
                "proposer": {**proposer, "avatarUrl": None},
                "transactionCount": 0,
                "totalTransactionCount": 0,
                "datetime": (
                    now - timedelta(seconds=back * world.settings.block_seconds)
                ).isoformat(),
            }
            for back in range(limit)
        ]

    @made.get("/balances")
    async def balances(address: str = "") -> Any:
        free = int(world.book.credits * 1_000_000)
        locked = sum(int(item.escrow.funds) for item in world.book.deployments.values())
        if address != OWNER:
            free = locked = 0
        return {"data": {"balance": free, "deployments": locked, "total": free + locked}}

    @made.get("/deployment-funding-config")
    async def funding() -> Any:
        if not world.settings.extended:
            raise Refusal(404, "NotFoundError", "Not found")
        limits = {
            "targetRunwayHours": float(world.settings.runway_hours),
            "balanceHeadroomUsd": float(world.settings.headroom),
            "defaultDepositUsd": float(world.settings.min_deposit),
        }
        return {"data": limits}


def _providers(made: APIRouter, world: "AkashWorld") -> None:
    @made.get("/providers")
    async def providers() -> Any:
        known = world.book.providers.values()
        return [answers.provider(item, world.gateways.url(item.address)) for item in known]

    @made.get("/providers/{address}")
    async def provider(address: str) -> Any:
        item = world.book.providers.get(address)
        if item is None:
            raise Refusal(404, "NotFoundError", "Provider not found")
        return answers.provider_detail(item, world.gateways.url(item.address))

    @made.get("/provider-regions")
    async def regions() -> Any:
        found: dict[str, list[str]] = {}
        for item in world.book.providers.values():
            found.setdefault(item.region, []).append(item.address)
        return [
            {"providers": owners, "key": key, "description": key}
            for key, owners in sorted(found.items())
        ]

    @made.post("/bid-screening")
    async def screening(body: dict[str, Any]) -> Any:
        (unit,) = body["resources"]
        wanted = (body.get("requirements") or {}).get("attributes") or ()
        need = market.need_of(unit["resource"], {item["key"]: item["value"] for item in wanted})
        able = [p for p in world.book.providers.values() if p.audited and market.fits(p, need)]
        return {
            "providers": [
                {
                    "owner": item.address,
                    "hostUri": f"https://{item.name}:8443",
                    "isAudited": item.audited,
                    "createdAt": world.book.genesis.isoformat(),
                    "location": item.region,
                    "organization": None,
                    "incidents": [],
                }
                for item in able
            ]
        }


def _prices(made: APIRouter, world: "AkashWorld") -> None:
    @made.post("/pricing")
    async def pricing(body: dict[str, Any] | list[dict[str, Any]]) -> Any:
        if isinstance(body, list):
            return [_priced(item) for item in body]
        return _priced(body)

    @made.get("/gpu-prices")
    async def gpu_prices() -> Any:
        models: list[dict[str, Any]] = []
        for model, hourly in sorted(world.settings.gpu_hour.items()):
            total = sum(p.gpus.get(model, 0) for p in world.book.providers.values() if p.online)
            owners = sum(model in p.gpus for p in world.book.providers.values())
            price = {"currency": "USD", "weightedAverage": float(hourly), "med": float(hourly)}
            models.append(
                {
                    "vendor": "nvidia",
                    "model": model,
                    "ram": "80Gi",
                    "interface": "PCIe",
                    "availability": {"total": total, "available": total},
                    "providerAvailability": {"total": owners, "available": owners},
                    "price": {
                        **price,
                        "min": float(hourly),
                        "max": float(hourly * 2),
                        "avg": float(hourly),
                    },
                }
            )
        whole = sum(item["availability"]["total"] for item in models)
        return {"availability": {"total": whole, "available": whole}, "models": models}


def _priced(spec: dict[str, Any]) -> dict[str, Any]:
    akash = market.monthly(
        int(Decimal(str(spec["cpu"]))), int(spec["memory"]), int(spec["storage"])
    )
    value = float(round(akash, 6))
    return {"spec": spec, "akash": value, "aws": value * 4, "gcp": value * 4, "azure": value * 5}


def _row(item: SimDeployment) -> dict[str, Any]:
    return {
        "owner": OWNER,
        "dseq": item.dseq,
        "status": item.state,
        "createdHeight": item.created,
        "cpuUnits": 0,
        "gpuUnits": 0,
        "memoryQuantity": 0,
        "storageQuantity": 0,
        "leases": [],
    }


def _indexed(world: "AkashWorld", item: SimDeployment) -> bool:
    return time.time() >= item.made_at + world.settings.index_lag
