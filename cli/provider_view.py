"""How providers look: rows of tables, and one in full."""

import json
from collections.abc import Iterator
from typing import Any

from cli import render
from cortex.domain.money import Money
from cortex.domain.offers import PriceSheet
from cortex.domain.providers.circuit import CircuitState
from cortex.schemas.providers import ProviderTestResult, ProviderTypeView, ProviderView


def row(item: ProviderView) -> tuple[str, ...]:
    """Its line in the list of all."""
    return (
        item.id,
        item.type,
        condition(item),
        runs(item),
        limits(item),
        str(item.active_leases),
        price_words(item.prices),
        _message(item),
    )


def condition(item: ProviderView) -> str:
    """Its status in a word or two: what stands in the way of new jobs comes first."""
    if not item.configured:
        return "gone"
    if not item.enabled:
        return "disabled"
    if item.circuit.state is CircuitState.CLOSED:
        return item.status
    return f"{item.status}, circuit {item.circuit.state.value.replace('_', '-')}"


def _message(item: ProviderView) -> str:
    circuit = item.circuit
    if circuit.state is CircuitState.CLOSED or not item.enabled:
        return item.message
    since, probe = render.clock(circuit.since), render.clock(circuit.probe_at)
    words = f"no new jobs since {since}, probed again at {probe}: {circuit.reason}"
    return "; ".join(filter(None, (words, item.message if item.message != circuit.reason else "")))


def runs(item: ProviderView) -> str:
    """What it runs."""
    can = item.capabilities
    if can is None:
        return "?"
    names = {
        "containers": can.images,
        "processes": can.processes,
        "services": can.services,
        "scenes": can.render,
    }
    return ", ".join([name for name, able in names.items() if able] + list(can.gpu_models))


def limits(item: ProviderView) -> str:
    """How much of it."""
    can = item.capabilities
    if can is None:
        return ""
    cpu = f"{can.max_cpu:f} cores" if can.max_cpu is not None else ""
    memory = render.size(can.max_memory) if can.max_memory is not None else ""
    return ", ".join(text for text in (cpu, memory) if text)


def price_words(sheet: PriceSheet | None) -> str:
    """A price sheet on one line."""
    if sheet is None:
        return "?"
    parts = (
        ("core", sheet.cpu_hour),
        ("GiB memory", sheet.memory_gib_hour),
        ("GiB storage", sheet.storage_gib_hour),
        ("GPU", sheet.gpu_hour),
    )
    texts = [
        f"{Money(amount=price, currency=sheet.currency)}/{unit}" for unit, price in parts if price
    ]
    return ", ".join(texts) or "free"


def prices(sheet: PriceSheet) -> tuple[str, ...]:
    """A price sheet as columns."""
    amounts = (sheet.cpu_hour, sheet.memory_gib_hour, sheet.storage_gib_hour, sheet.gpu_hour)
    return (*(f"{amount:f}" for amount in amounts), sheet.currency, f"{sheet.usd_rate:f}")


def fields(item: ProviderView) -> list[tuple[str, str]]:
    """All of it."""
    from_where = {"settings": "the workers' settings", "api": "added over the API"}
    config = json.dumps(item.config) if item.config else ""
    return [
        ("id", item.id),
        ("type", item.type),
        ("from", from_where[item.source]),
        ("status", condition(item)),
        ("message", _message(item)),
        ("checked", render.clock(item.checked_at)),
        ("latency", "" if item.latency_ms is None else f"{item.latency_ms} ms"),
        ("network", item.network_version),
        ("balance", str(item.balance) if item.balance else ""),
        ("leases", str(item.active_leases)),
        ("runs", runs(item)),
        ("limits", limits(item)),
        ("prices", price_words(item.prices)),
        ("rate limit", f"{item.rate_limit:g} steps per second" if item.rate_limit else ""),
        ("config", config),
        ("secrets", ", ".join(f"{name} (set)" for name in item.secrets)),
    ]


def test_fields(found: ProviderTestResult) -> list[tuple[str, str]]:
    """What a test found."""
    return [
        ("result", "good" if found.ok else "cannot be used"),
        ("message", found.message),
        ("latency", "" if found.latency_ms is None else f"{found.latency_ms} ms"),
        ("network", found.network_version),
        ("balance", str(found.balance) if found.balance else ""),
        ("prices", price_words(found.prices) if found.prices else ""),
    ]


def schema_rows(kind: ProviderTypeView) -> list[tuple[str, ...]]:
    """The fields of a type: name, type, default, what it is."""
    schema = kind.config_schema
    required = schema.get("required", ())
    return [
        (
            name,
            "secret" if name in kind.secret_fields else " or ".join(_kinds(field)),
            "(needed)" if name in required else _default(field),
            field.get("description", ""),
        )
        for name, field in schema.get("properties", {}).items()
    ]


def _kinds(field: dict[str, Any]) -> Iterator[str]:
    if "enum" in field:
        yield from (str(value) for value in field["enum"])
    elif "anyOf" in field:
        for part in field["anyOf"]:
            yield from _kinds(part)
    elif "$ref" in field:
        yield field["$ref"].rpartition("/")[2]
    elif field.get("type") == "array":
        yield f"list of {' or '.join(_kinds(field.get('items', {}))) or 'values'}"
    else:
        yield str(field.get("type", "value"))


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
