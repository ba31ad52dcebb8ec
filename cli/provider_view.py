"""How providers look: rows of tables, and one in full."""

import json
from collections.abc import Iterator
from typing import Any

from cli import render
from cortex.domain.money import Money
from cortex.domain.offers import PriceSheet
from cortex.domain.providers.circuit import CircuitState
from cortex.schemas.providers import ProviderTestResult, ProviderTypeView, ProviderView


def row(provider: ProviderView) -> tuple[str, ...]:
    """Its line in the list of all."""
    return (
        provider.id,
        provider.type,
        condition(provider),
        runs(provider),
        limits(provider),
        str(provider.active_leases),
        price_words(provider.prices),
        _message(provider),
    )


def condition(provider: ProviderView) -> str:
    """Its status in a word or two: what stands in the way of new jobs comes first."""
    if not provider.configured:
        return "gone"
    if not provider.enabled:
        return "disabled"
    if provider.circuit.state is CircuitState.CLOSED:
        return provider.status
    return f"{provider.status}, circuit {provider.circuit.state.value.replace('_', '-')}"


def _message(provider: ProviderView) -> str:
    circuit = provider.circuit
    if circuit.state is CircuitState.CLOSED or not provider.enabled:
        return provider.message
    since, probe = render.clock(circuit.since), render.clock(circuit.probe_at)
    words = f"no new jobs since {since}, probed again at {probe}: {circuit.reason}"
    return "; ".join(
        filter(None, (words, provider.message if provider.message != circuit.reason else ""))
    )


def runs(provider: ProviderView) -> str:
    """What it runs."""
    can = provider.capabilities
    if can is None:
        return "?"
    names = {
        "containers": can.images,
        "processes": can.processes,
        "services": can.services,
        "scenes": can.render,
    }
    return ", ".join([name for name, able in names.items() if able] + list(can.gpu_models))


def limits(provider: ProviderView) -> str:
    """How much of it."""
    can = provider.capabilities
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


def fields(provider: ProviderView) -> list[tuple[str, str]]:
    """All of it."""
    from_where = {"settings": "the workers' settings", "api": "added over the API"}
    config = json.dumps(provider.config) if provider.config else ""
    return [
        ("id", provider.id),
        ("type", provider.type),
        ("from", from_where[provider.source]),
        ("status", condition(provider)),
        ("message", _message(provider)),
        ("checked", render.clock(provider.checked_at)),
        ("latency", "" if provider.latency_ms is None else f"{provider.latency_ms} ms"),
        ("network", provider.network_version),
        ("balance", str(provider.balance) if provider.balance else ""),
        ("leases", str(provider.active_leases)),
        ("runs", runs(provider)),
        ("limits", limits(provider)),
        ("prices", price_words(provider.prices)),
        ("rate limit", f"{provider.rate_limit:g} steps per second" if provider.rate_limit else ""),
        ("config", config),
        ("secrets", ", ".join(f"{name} (set)" for name in provider.secrets)),
    ]


def test_fields(result: ProviderTestResult) -> list[tuple[str, str]]:
    """What a test found."""
    return [
        ("result", "good" if result.ok else "cannot be used"),
        ("message", result.message),
        ("latency", "" if result.latency_ms is None else f"{result.latency_ms} ms"),
        ("network", result.network_version),
        ("balance", str(result.balance) if result.balance else ""),
        ("prices", price_words(result.prices) if result.prices else ""),
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
