"""The providers of the simulated market: what they offer and by what rules they negotiate."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from simulators.golem.state import Node

PLATFORM = "erc20-polygon-glm"
_DURATION, _CPU = "golem.usage.duration_sec", "golem.usage.cpu_sec"
_COUNT = 28
_ACCEPT = "golem.com.payment.debit-notes.accept-timeout?"
_INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
_PAY = "golem.com.scheme.payu.payment-timeout-sec?"


def make_nodes(subnet: str = "public") -> list[Node]:
    """Many alike at rising prices, and three others: a GPU, another runtime, another subnet."""
    nodes = [_node(index, subnet) for index in range(_COUNT)]
    gpu = _node(_COUNT, subnet, name="gpu-0")
    gpu.properties |= {
        "golem.runtime.name": "vm-nvidia",
        "golem.runtime.capabilities": ["!exp:gpu"],
        "golem.!exp.gap-35.v1.inf.gpu.model": "NVIDIA GeForce RTX 4090",
        "golem.!exp.gap-35.v1.inf.gpu.memory.total.gib": 24,
    }
    other = _node(_COUNT + 1, subnet, name="wasm-0")
    other.properties["golem.runtime.name"] = "wasmtime"
    far = _node(_COUNT + 2, "elsewhere", name="far-0")
    return [*nodes, gpu, other, far]


def _node(index: int, subnet: str, name: str | None = None) -> Node:
    node_id = f"0x{index + 0xA0:040x}"
    step = Decimal("0.000001") * index
    duration, cpu = Decimal("0.000010") + step, Decimal("0.000020") + step
    # Every second one counts in the other order, as real ones do.
    pairs = [(_DURATION, duration), (_CPU, cpu)]
    if index % 2:
        pairs.reverse()
    properties: dict[str, Any] = {
        "golem.node.id.name": name or f"node-{index}",
        "golem.node.debug.subnet": subnet,
        "golem.node.geo.country_code": "PL" if index % 3 else "DE",
        "golem.runtime.name": "vm",
        "golem.runtime.version": "0.4.2",
        "golem.runtime.capabilities": ["vpn", "inet"],
        "golem.inf.cpu.threads": 4 if index % 4 else 8,
        "golem.inf.cpu.cores": 4,
        "golem.inf.cpu.architecture": "x86_64",
        "golem.inf.mem.gib": 16.0,
        "golem.inf.storage.gib": 100.0,
        "golem.com.scheme": "payu",
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [float(v) for _, v in pairs] + [0.0001],
        "golem.com.usage.vector": [key for key, _ in pairs],
        f"golem.com.payment.platform.{PLATFORM}.address": node_id,
        "golem.com.payment.protocol.version": 3,
        "golem.srv.caps.multi-activity": True,
    }
    return Node(id=node_id, name=properties["golem.node.id.name"], offer_id=f"{index:032x}",
                properties=properties)  # fmt: skip


def objection(node: Node, wanted: Mapping[str, Any], now: datetime, busy: bool) -> str | None:
    """Why a stock provider turns a counter-proposal down; None where it does not."""
    if node.rejects:
        return node.rejects
    if wanted.get("golem.com.payment.chosen-platform") != PLATFORM:
        return "No payment platform was chosen"
    life = _life(wanted, now)
    if life is None or life < timedelta(minutes=5):
        return "Proposal expires at: too early"
    accept = _number(wanted.get(_ACCEPT))
    if accept is None and life > timedelta(minutes=30, seconds=30):
        return "Proposal expires at: too late without debit note acceptance timeout"
    if accept is not None and not 5 <= accept <= 240:
        return "Debit note acceptance timeout not acceptable"
    interval = _number(wanted.get(_INTERVAL))
    if interval is not None and not 1 <= interval <= 24 * 3600:
        return "Debit note interval not acceptable"
    if life >= timedelta(hours=10) and _number(wanted.get(_PAY)) is None:
        return "Payment timeout missing for a long running agreement"
    if busy:
        return "No capacity available. Reached Agreements limit: 1"
    return None


def accept_timeout(demand: Mapping[str, Any]) -> timedelta | None:
    number = _number(demand.get(_ACCEPT))
    return timedelta(seconds=number) if number is not None else None


def note_interval(demand: Mapping[str, Any]) -> timedelta | None:
    number = _number(demand.get(_INTERVAL))
    return timedelta(seconds=number) if number is not None else None


def _life(wanted: Mapping[str, Any], now: datetime) -> timedelta | None:
    at = _number(wanted.get("golem.srv.comp.expiration"))
    return timedelta(milliseconds=at - now.timestamp() * 1000) if at is not None else None


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(Decimal(str(value)))
    except InvalidOperation:
        return None
