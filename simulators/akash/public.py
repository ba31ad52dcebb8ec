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
        deployment = world.book.deployments.get(dseq)
        if owner != OWNER or deployment is None or not _indexed(world, deployment):
            raise Refusal(404, "NotFoundError", "Deployment not found")
        return {
            "owner": OWNER,
            "dseq": deployment.dseq,
            "balance": float(deployment.escrow.funds),
            "denom": "uact",
            "status": deployment.state,
            "totalMonthlyCostUDenom": 0,
            "leases": [],
            "events": [],
            "other": {
                "deployment": {
                    "id": {"owner": OWNER, "dseq": deployment.dseq},
                    "state": deployment.state,
                    "hash": deployment.hash,
                    "created_at": str(deployment.created),
                },
                "groups": [answers.group(deployment)],
                "escrow_account": answers.escrow_account(deployment),
            },
        }

    @made.get("/addresses/{address}/deployments/{skip}/{limit}")
    async def of_address(
        address: str, skip: int, limit: int, status: str = "", reverseSorting: str = ""
    ) -> Any:
        matching = [
            deployment
            for deployment in world.book.deployments.values()
            if address == OWNER and status in ("", deployment.state) and _indexed(world, deployment)
        ]
        if reverseSorting == "true":
            matching.reverse()
        return {
            "count": len(matching),
            "results": [_row(deployment) for deployment in matching[skip : skip + limit]],
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
        locked = sum(int(deployment.escrow.funds) for deployment in world.book.deployments.values())
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
        return [
            answers.provider(provider, world.gateways.url(provider.address)) for provider in known
        ]

    @made.get("/providers/{address}")
    async def provider(address: str) -> Any:
        provider = world.book.providers.get(address)
        if provider is None:
            raise Refusal(404, "NotFoundError", "Provider not found")
        return answers.provider_detail(provider, world.gateways.url(provider.address))

    @made.get("/provider-regions")
    async def regions() -> Any:
        by_region: dict[str, list[str]] = {}
        for provider in world.book.providers.values():
            by_region.setdefault(provider.region, []).append(provider.address)
        return [
            {"providers": owners, "key": key, "description": key}
            for key, owners in sorted(by_region.items())
        ]

    @made.post("/bid-screening")
    async def screening(body: dict[str, Any]) -> Any:
        (unit,) = body["resources"]
        wanted = (body.get("requirements") or {}).get("attributes") or ()
        need = market.need_of(
            unit["resource"], {provider["key"]: provider["value"] for provider in wanted}
        )
        able = [p for p in world.book.providers.values() if p.audited and market.fits(p, need)]
        return {
            "providers": [
                {
                    "owner": provider.address,
                    "hostUri": f"https://{provider.name}:8443",
                    "isAudited": provider.audited,
                    "createdAt": world.book.genesis.isoformat(),
                    "location": provider.region,
                    "organization": None,
                    "incidents": [],
                }
                for provider in able
            ]
        }


def _prices(made: APIRouter, world: "AkashWorld") -> None:
    @made.post("/pricing")
    async def pricing(body: dict[str, Any] | list[dict[str, Any]]) -> Any:
        if isinstance(body, list):
            return [_priced(size) for size in body]
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
        whole = sum(gpu["availability"]["total"] for gpu in models)
        return {"availability": {"total": whole, "available": whole}, "models": models}


def _priced(spec: dict[str, Any]) -> dict[str, Any]:
    akash = market.monthly(
        int(Decimal(str(spec["cpu"]))), int(spec["memory"]), int(spec["storage"])
    )
    value = float(round(akash, 6))
    return {"spec": spec, "akash": value, "aws": value * 4, "gcp": value * 4, "azure": value * 5}


def _row(deployment: SimDeployment) -> dict[str, Any]:
    return {
        "owner": OWNER,
        "dseq": deployment.dseq,
        "status": deployment.state,
        "createdHeight": deployment.created,
        "cpuUnits": 0,
        "gpuUnits": 0,
        "memoryQuantity": 0,
        "storageQuantity": 0,
        "leases": [],
    }


def _indexed(world: "AkashWorld", deployment: SimDeployment) -> bool:
    return time.time() >= deployment.made_at + world.settings.index_lag
