"""The Console's answers, field by field as its API file has them."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from simulators.akash import escrow
from simulators.akash.gateway.pods import KubeTrouble, Place, status_of
from simulators.akash.model import SimBid, SimDeployment, SimLease
from simulators.akash.settings import OWNER, SimProvider

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

_DAY = "2026-01-01T00:00:00.000Z"


def coin(amount: Decimal) -> dict[str, str]:
    return {"denom": "uact", "amount": f"{amount:.18f}"}


async def detail(
    world: "AkashWorld", deployment: SimDeployment, *, part: Literal["whole", "list", "chain"]
) -> dict[str, Any]:
    """One deployment: with what its provider says, in a list, or as the chain has it."""
    answer: dict[str, Any] = {
        "deployment": {
            "id": {"owner": OWNER, "dseq": deployment.dseq},
            "state": deployment.state,
            "hash": deployment.hash,
            "created_at": str(deployment.created),
        },
        "leases": [await lease(world, deployment, each, part=part) for each in deployment.leases],
        "escrow_account": escrow_account(deployment),
    }
    if world.settings.extended and part != "chain":
        answer["name"] = deployment.name
        if part == "whole":
            stored = {"sdl": deployment.stored, "manifestVersion": deployment.hash}
            answer["consoleSettings"] = stored if deployment.stored else None
        else:
            answer["groups"] = [group(deployment)]
            answer["settings"] = _listed_settings(world, deployment)
    return answer


def _listed_settings(world: "AkashWorld", deployment: SimDeployment) -> dict[str, Any]:
    ends = world.ends_at(deployment)
    return {
        "name": deployment.name,
        "runtimeLimitHours": deployment.limit_hours,
        "runtimeEndsAt": ends.isoformat() if ends else None,
        "closed": deployment.state == "closed",
    }


async def lease(
    world: "AkashWorld", deployment: SimDeployment, each: SimLease, *, part: str
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": {**_id(deployment, each.oseq, each.provider), "bseq": 0},
        "state": each.state,
        "price": coin(each.price),
        "created_at": str(each.created),
        "closed_on": str(each.closed_on),
        # An active lease shows the first of all reasons.
        "reason": each.reason or "lease_closed_invalid",
    }
    if each.reclaim_at is not None:
        answer["reclamation"] = {"deadline": str(each.reclaim_at)}
    if part != "list":
        whole = part == "whole"
        answer["status"] = await lease_status(world, deployment, each) if whole else None
    return answer


async def lease_status(
    world: "AkashWorld", deployment: SimDeployment, each: SimLease
) -> dict[str, Any] | None:
    """What the Console gets from the provider; nothing of it where that does not answer."""
    if not each.live or each.delivered_at is None or world.dark(each):
        return None
    try:
        status = await status_of(world, Place(deployment, each))
    except KubeTrouble:
        return None
    # A gateway says null where there is nothing; the Console's API file knows objects and lists.
    for service in status["services"].values():
        service["uris"] = service["uris"] or []
    return status | {name: status[name] or {} for name in ("forwarded_ports", "ips")}


def escrow_account(deployment: SimDeployment) -> dict[str, Any]:
    account = deployment.escrow
    return {
        "id": {"scope": "deployment", "xid": f"{OWNER}/{deployment.dseq}"},
        "state": {
            "owner": OWNER,
            "state": account.state,
            "transferred": [coin(account.transferred)],
            "settled_at": str(account.settled_at),
            "funds": [coin(account.funds)],
            "deposits": [
                {
                    "owner": OWNER,
                    "height": str(deployment.created),
                    "source": "grant",
                    "balance": coin(account.funds),
                }
            ],
        },
    }


def bid(world: "AkashWorld", deployment: SimDeployment, each: SimBid) -> dict[str, Any]:
    resource = world.resource(deployment.sdl)
    offered = {
        "resources": {
            "cpu": {**resource["cpu"], "attributes": []},
            "gpu": {"attributes": [], **resource["gpu"]},
            "memory": {"quantity": resource["memory"]["size"], "attributes": []},
            "storage": [
                {
                    "name": entry["name"],
                    "quantity": entry["size"],
                    "attributes": entry.get("attributes", []),
                }
                for entry in resource["storage"]
            ],
            "endpoints": endpoints(resource),
        },
        "count": 1,
    }
    return {
        "bid": {
            "id": {**_id(deployment, deployment.oseq, each.provider), "bseq": 0},
            "state": each.state,
            "price": coin(each.price),
            "created_at": str(each.height),
            "resources_offer": [offered],
            "reclamation_window": "0s",
        },
        "escrow_account": {
            "id": {
                "scope": "bid",
                "xid": f"{OWNER}/{deployment.dseq}/1/{deployment.oseq}/{each.provider}",
            },
            "state": {
                "owner": each.provider,
                "state": "open",
                "transferred": [],
                "settled_at": str(each.height),
                "funds": [coin(escrow.UACT / 2)],
                "deposits": [],
            },
        },
    }


def group(deployment: SimDeployment) -> dict[str, Any]:
    return {
        "id": {"owner": OWNER, "dseq": deployment.dseq, "gseq": 1},
        "state": deployment.group_state,
        "group_spec": {
            "name": deployment.group,
            "requirements": {"signed_by": {"all_of": [], "any_of": []}, "attributes": []},
            "resources": [],
        },
        "created_at": str(deployment.created),
    }


def endpoints(resource: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {0: "SHARED_HTTP", 1: "RANDOM_PORT"}
    return [
        {"kind": kinds[entry.get("kind", 0)], "sequence_number": entry["sequence_number"]}
        for entry in resource["endpoints"]
    ]


def provider(provider: SimProvider, gateway_url: str) -> dict[str, Any]:
    gpus = [
        {"vendor": "nvidia", "model": name, "ram": "80Gi", "interface": "PCIe"}
        for name in provider.gpus
    ]
    texts = (
        "email website lastCheckDate ipLat ipLon lastOnlineDate host organization statusPage "
        "country city timezone locationType hostingProvider hardwareCpu hardwareCpuArch "
        "hardwareGpuVendor hardwareMemory networkProvider tier ipRegion ipRegionCode ipCountry "
        "ipCountryCode"
    )
    return {
        **dict.fromkeys(texts.split()),
        "owner": provider.address,
        "name": provider.name,
        "hostUri": gateway_url,
        "createdHeight": 1,
        "cosmosSdkVersion": "v0.53.4",
        "akashVersion": "v0.10.6",
        "uptime1d": float(provider.uptime) if provider.online else 0.0,
        "uptime7d": float(provider.uptime),
        "uptime30d": float(provider.uptime),
        "isValidVersion": True,
        "isOnline": provider.online,
        "isAudited": provider.audited,
        "gpuModels": gpus,
        "attributes": [
            {"key": "location-region", "value": provider.region, "auditedBy": []},
        ],
        "locationRegion": provider.region,
        "hardwareGpuModels": list(provider.gpus),
        "hardwareDisk": [],
        "featPersistentStorage": True,
        "featPersistentStorageType": ["beta3"],
        "networkSpeedDown": 1000,
        "networkSpeedUp": 1000,
        "featEndpointCustomDomain": True,
        "workloadSupportChia": False,
        "workloadSupportChiaCapabilities": [],
        "featEndpointIp": False,
    }


def provider_detail(listed: SimProvider, gateway_url: str) -> dict[str, Any]:
    parts = ("cpu", "gpu", "memory")
    amounts = {"active": 0, "available": 1000, "pending": 0}
    answer = provider(listed, gateway_url)
    answer["deploymentCount"] = answer["leaseCount"] = 0
    answer["stats"] = {
        **{part: dict(amounts) for part in parts},
        "storage": {"ephemeral": dict(amounts), "persistent": dict(amounts)},
    }
    answer["uptime"] = [{"id": "1", "isOnline": listed.online, "checkDate": _DAY}]
    return answer


def _id(deployment: SimDeployment, oseq: int, address: str) -> dict[str, Any]:
    return {"owner": OWNER, "dseq": deployment.dseq, "gseq": 1, "oseq": oseq, "provider": address}
