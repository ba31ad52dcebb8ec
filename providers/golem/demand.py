"""What is asked of the market: properties and constraints of a demand.

A stock provider decides by a few keys whether it negotiates at all (the fact sheet's section 3),
and the daemon accepts constraints that it cannot read and then never matches anything: every
value that goes into one is checked before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.spec import JobSpec
from providers.golem.config import GolemConfig

# Ours; they travel with the agreement and are how a lease is found again.
KEY = "dev.cortex.key"
ACCOUNT = "dev.cortex.account"
SEALED = "dev.cortex.sealed"
ALLOCATION = "dev.cortex.allocation"
NAME = "dev.cortex.name"

PACKAGE = "golem.srv.comp.task_package"
EXPIRATION = "golem.srv.comp.expiration"
PLATFORM = "golem.com.payment.chosen-platform"
SUBNET = "golem.node.debug.subnet"
_ACCEPT = "golem.com.payment.debit-notes.accept-timeout?"
_INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
_PAY = "golem.com.scheme.payu.payment-timeout-sec?"

ACCEPT_TIMEOUT = timedelta(seconds=120)
NOTE_INTERVAL = timedelta(seconds=120)
_PAYMENT_TIMEOUT = timedelta(hours=12)
MARGIN = timedelta(minutes=10)
_WITHOUT_NOTES = timedelta(minutes=30)
_WITH_PAYMENTS = timedelta(hours=10)
_SHORTEST = timedelta(minutes=6)
_GIB = Decimal(2**30)


@dataclass(frozen=True)
class Demand:
    """One demand; the counter-proposals to it repeat it, with `private` added."""

    properties: dict[str, Any]
    constraints: str

    def body(self) -> dict[str, Any]:
        return {"properties": self.properties, "constraints": self.constraints}

    def with_private(self, private: Mapping[str, str]) -> dict[str, Any]:
        """The counter-proposal: what only the provider that we deal with gets to see."""
        return {
            "properties": {**self.properties, **private},
            "constraints": self.constraints,
        }


def lifetime(duration: timedelta) -> timedelta:
    """How far ahead the provider ends the work by itself: the job's limit and a margin."""
    return max(duration + MARGIN, _SHORTEST)


def expires(properties: Mapping[str, Any]) -> datetime | None:
    """When the provider ends the work by itself, from a demand's properties."""
    try:
        seconds = float(str(properties[EXPIRATION])) / 1000
    except (KeyError, ValueError):
        return None
    return datetime.fromtimestamp(seconds).astimezone()


def billing_keys(life: timedelta) -> dict[str, int]:
    """The keys without which a stock provider refuses a run of this length."""
    keys: dict[str, int] = {}
    if life > _WITHOUT_NOTES:
        keys[_ACCEPT] = int(ACCEPT_TIMEOUT.total_seconds())
        keys[_INTERVAL] = int(NOTE_INTERVAL.total_seconds())
    if life >= _WITH_PAYMENTS:
        keys[_PAY] = int(_PAYMENT_TIMEOUT.total_seconds())
    return keys


def constraints(spec: JobSpec, config: GolemConfig, decorations: Sequence[str] = ()) -> str:
    """What an offer must have for this job."""
    need = spec.resources
    gpu = need.gpu
    parts = [
        f"(golem.runtime.name={config.gpu_runtime if gpu else config.runtime})",
        f"({SUBNET}={config.subnet})",
        f"(golem.inf.cpu.threads>={_ceil(need.cpu)})",
        f"(golem.inf.mem.gib>={_number(need.memory / _GIB)})",
        f"(golem.inf.storage.gib>={_number(need.storage / _GIB)})",
        "(golem.com.pricing.model=linear)",
    ]
    if gpu is not None:
        parts.append("(golem.runtime.capabilities=!exp:gpu)")
    parts += [text for text in decorations if text not in parts]
    return f"(&{''.join(parts)})"


def make_demand(
    spec: JobSpec,
    config: GolemConfig,
    *,
    package: str,
    own: Mapping[str, str],
    now: datetime,
    decorations: Mapping[str, Any],
    also: Sequence[str],
) -> Demand:
    """The demand for a job. `own` marks it as ours; `decorations`, `also` come from payments."""
    life = lifetime(spec.duration)
    properties: dict[str, Any] = {
        **decorations,
        EXPIRATION: int((now + life).timestamp() * 1000),
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
        PACKAGE: package,
        "golem.srv.caps.multi-activity": True,
        SUBNET: config.subnet,
        PLATFORM: config.payment_platform,
        **billing_keys(life),
        **own,
    }
    return Demand(properties, constraints(spec, config, also))


def _ceil(value: Decimal) -> int:
    return max(1, int(-(-value // 1)))


def _number(value: Decimal) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") or "0"
