"""Answers in the form that the service was recorded giving: no field more, none less."""

from typing import Any

from simulators.nosana.definitions import operations
from simulators.nosana.market import Network
from simulators.nosana.state import COSTLY, Deployment, Market, Run, address, moment

VAULT = address("vault")
OWNER = address("owner")
INCORRECT = "Deployment is in the incorrect state."
ARCHIVED = "Cannot modify an archived deployment."


def deployment(network: Network, deployment: Deployment) -> dict[str, Any]:
    """`active_jobs` are those that run: one that waits in a queue does not count."""
    runs = network.books.of(deployment.id)
    return {
        "id": deployment.id,
        "name": deployment.name,
        "vault": VAULT,
        "market": deployment.market,
        "owner": OWNER,
        "status": deployment.status,
        "replicas": deployment.replicas,
        "timeout": deployment.timeout,
        "endpoints": [
            {"opId": op["id"], "port": port, "url": f"https://{host}.node.k8s.prd.nos.ci"}
            for op in operations(deployment.definition)
            for host in [address(deployment.id, op["id"])]
            for port in _ports(op["args"])
        ],
        "confidential": deployment.confidential,
        "active_revision": 1,
        "active_jobs": sum(run.state == "RUNNING" for run in runs),
        "created_at": moment(deployment.created_at),
        "updated_at": moment(deployment.updated_at),
        "strategy": deployment.strategy,
    }


def run(run: Run) -> dict[str, Any]:
    listed = moment(run.listed_at)
    return {
        "tx": address("tx", run.id) * 2,
        "deployment": run.deployment,
        "job": run.id,
        "market": run.market,
        "node": run.node if run.time_start else None,
        "revision": 1,
        "state": run.state,
        "time_start": run.time_start,
        "created_at": listed,
        "updated_at": listed,
    }


def run_detail(network: Network, run: Run) -> dict[str, Any]:
    """States come as the chain's numbers here; `jobStatus` never says anything."""
    owner = network.books.deployments[run.deployment]
    definition = owner.definition
    return {
        "confidential": owner.confidential,
        "revision": 1,
        "market": run.market,
        "node": run.node,
        "state": ("QUEUED", "RUNNING", "COMPLETED", "STOPPED").index(run.state),
        "jobStatus": None,
        "jobDefinition": {
            **definition,
            "deployment_id": owner.id,
            "meta": {**definition.get("meta", {}), "trigger": "deployment-manager"},
        },
        "jobResult": network.result(run),
        "timeStart": run.time_start,
        "timeEnd": run.time_end,
        "listedAt": int(run.listed_at.timestamp()),
    }


def market(market: Market, *, offline: bool) -> dict[str, Any]:
    count = 0 if offline else market.nodes
    return {
        "address": market.address,
        "slug": market.slug,
        "name": market.name,
        "sft": address("sft", market.slug),
        "type": market.type,
        "usd_reward_per_hour": float(market.usd_reward_per_hour),
        "nos_reward_per_second": 0.00008,
        "nos_job_price_per_second": 0.000088,
        "network_fee_percentage": market.network_fee_percentage,
        "premium_community_relation": None,
        "gpu_types": market.gpu_types,
        "required_images": [],
        "required_remote_resources": [],
        "nodes": [address("node", market.address, number) for number in range(count)],
        "client": True,
        "lowest_vram": market.lowest_vram,
        "max_usd_uptime_reward_per_day": 0,
    }


def costs_money(deployment: Deployment, runs: list[Run]) -> bool:
    return deployment.status in COSTLY or any(not run.final for run in runs)


def _ports(args: dict[str, Any]) -> list[Any]:
    exposed = args.get("expose") or []
    ports = exposed if isinstance(exposed, list) else [exposed]
    return [port["port"] if isinstance(port, dict) else port for port in ports]
