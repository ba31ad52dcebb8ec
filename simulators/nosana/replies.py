"""Answers in the form of the official schema (npm `@nosana/api`): no field more, none less."""

from typing import Any

from simulators.nosana.market import Network
from simulators.nosana.state import ACTIVE, Deployment, Market, Run, address

_VAULT = address("vault")
_OWNER = address("owner")


def deployment(network: Network, item: Deployment) -> dict[str, Any]:
    runs = network.books.of(item.id)
    ports = item.definition["ops"][0]["args"].get("expose") or []
    return {
        "id": item.id,
        "name": item.name,
        "vault": _VAULT,
        "market": item.market,
        "owner": _OWNER,
        "status": item.status,
        "replicas": 1,
        "timeout": item.timeout,
        "endpoints": [
            {
                "opId": item.definition["ops"][0]["id"],
                "port": port,
                "url": f"https://{address(item.id, port)}.node.k8s.prd.nos.ci",
            }
            for port in (ports if isinstance(ports, list) else [ports])
        ],
        "confidential": item.confidential,
        "active_revision": 1,
        "active_jobs": sum(not run.final for run in runs),
        "strategy": item.strategy,
        "created_at": item.created_at.isoformat(),
        "updated_at": item.updated_at.isoformat(),
    }


def run(item: Run) -> dict[str, Any]:
    listed = item.listed_at.isoformat()
    return {
        "tx": address("tx", item.id),
        "job": item.id,
        "deployment": item.deployment,
        "market": item.market,
        "revision": 1,
        "state": item.state,
        "time_start": item.time_start,
        "created_at": listed,
        "updated_at": listed,
    }


def run_detail(network: Network, item: Run) -> dict[str, Any]:
    """States come as the chain's numbers here, as they may."""
    owner = network.books.deployments[item.deployment]
    result = network.result(item)
    return {
        "confidential": owner.confidential,
        "revision": 1,
        "market": item.market,
        "node": item.node,
        "state": ("QUEUED", "RUNNING", "COMPLETED", "STOPPED").index(item.state),
        "jobStatus": result["status"] if result else None,
        "jobDefinition": owner.definition,
        "jobResult": result,
        "timeStart": item.time_start,
        "timeEnd": item.time_end,
        "listedAt": int(item.listed_at.timestamp()),
    }


def market(item: Market, *, offline: bool) -> dict[str, Any]:
    count = 0 if offline else item.nodes
    return {
        "address": item.address,
        "slug": item.slug,
        "name": item.name,
        "sft": address("sft", item.slug),
        "type": item.type,
        "usd_reward_per_hour": float(item.usd_reward_per_hour),
        "nos_reward_per_second": 0.00008,
        "nos_job_price_per_second": 0.000088,
        "network_fee_percentage": item.network_fee_percentage,
        "premium_community_relation": None,
        "gpu_types": item.gpu_types,
        "required_images": [],
        "required_remote_resources": [],
        "nodes": [address("node", item.address, number) for number in range(count)],
        "client": True,
        "lowest_vram": item.lowest_vram,
        "max_usd_uptime_reward_per_day": 0,
    }


def costs_money(item: Deployment, runs: list[Run]) -> bool:
    return item.status in ACTIVE or any(not run.final for run in runs)
