"""Answers in the form that the service was recorded giving: no field more, none less."""

from typing import Any

from simulators.nosana.definitions import operations
from simulators.nosana.market import Network
from simulators.nosana.state import COSTLY, Deployment, Market, Run, address, moment

VAULT = address("vault")
OWNER = address("owner")
INCORRECT = "Deployment is in the incorrect state."
ARCHIVED = "Cannot modify an archived deployment."


def deployment(network: Network, item: Deployment) -> dict[str, Any]:
    """`active_jobs` are those that run: one that waits in a queue does not count."""
    runs = network.books.of(item.id)
    return {
        "id": item.id,
        "name": item.name,
        "vault": VAULT,
        "market": item.market,
        "owner": OWNER,
        "status": item.status,
        "replicas": item.replicas,
        "timeout": item.timeout,
        "endpoints": [
            {"opId": op["id"], "port": port, "url": f"https://{host}.node.k8s.prd.nos.ci"}
            for op in operations(item.definition)
            for host in [address(item.id, op["id"])]
            for port in _ports(op["args"])
        ],
        "confidential": item.confidential,
        "active_revision": 1,
        "active_jobs": sum(run.state == "RUNNING" for run in runs),
        "created_at": moment(item.created_at),
        "updated_at": moment(item.updated_at),
        "strategy": item.strategy,
    }


def run(item: Run) -> dict[str, Any]:
    listed = moment(item.listed_at)
    return {
        "tx": address("tx", item.id) * 2,
        "deployment": item.deployment,
        "job": item.id,
        "market": item.market,
        "node": item.node if item.time_start else None,
        "revision": 1,
        "state": item.state,
        "time_start": item.time_start,
        "created_at": listed,
        "updated_at": listed,
    }


def run_detail(network: Network, item: Run) -> dict[str, Any]:
    """States come as the chain's numbers here; `jobStatus` never says anything."""
    owner = network.books.deployments[item.deployment]
    definition = owner.definition
    return {
        "confidential": owner.confidential,
        "revision": 1,
        "market": item.market,
        "node": item.node,
        "state": ("QUEUED", "RUNNING", "COMPLETED", "STOPPED").index(item.state),
        "jobStatus": None,
        "jobDefinition": {
            **definition,
            "deployment_id": owner.id,
            "meta": {**definition.get("meta", {}), "trigger": "deployment-manager"},
        },
        "jobResult": network.result(item),
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
    return item.status in COSTLY or any(not run.final for run in runs)


def _ports(args: dict[str, Any]) -> list[Any]:
    found = args.get("expose") or []
    ports = found if isinstance(found, list) else [found]
    return [item["port"] if isinstance(item, dict) else item for item in ports]
