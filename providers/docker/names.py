"""The names and labels under which a lease is found again at the engine."""

import hashlib
from collections.abc import Mapping

from pydantic import ValidationError

from cortex.domain.ids import is_lease_key, job_id_of
from cortex.domain.leases import LeaseRef
from cortex.domain.money import Money
from cortex.domain.spec import JobSpec
from cortex.domain.units import format_duration

ACCOUNT = "dev.cortex.account"
"""`<namespace>/<provider id>`: what `owned()` and the event stream select by."""
KEY = "dev.cortex.key"
JOB = "dev.cortex.job"
NAME = "dev.cortex.name"
PRICE = "dev.cortex.price"
SPEC = "dev.cortex.spec"
DURATION = "dev.cortex.duration"
INIT = "dev.cortex.init"
PORTS = "dev.cortex.ports"
MEMORY = "dev.cortex.memory"
STORAGE = "dev.cortex.storage"
# On volumes that are marks, see `marks.py`.
TOKEN = "dev.cortex.token"
SINCE = "dev.cortex.since"
END = "dev.cortex.end"
MESSAGE = "dev.cortex.message"


def container_name(key: str) -> str:
    """The container's name: the engine gives a name only once, which makes `prepare` idempotent."""
    return f"cortex-{key}"


def volume_name(key: str, volume: str, *, persistent: bool) -> str:
    return f"cortex-{volume}" if persistent else f"cortex-{key}-{volume}"


def job_labels(spec: JobSpec, key: str, account: str, price: Money) -> dict[str, str]:
    """What must be known of a lease after every process has been restarted."""
    return {
        ACCOUNT: account,
        KEY: key,
        JOB: job_id_of(key) if is_lease_key(key) else key,
        NAME: spec.name,
        PRICE: str(price),
        SPEC: hashlib.sha256(spec.model_dump_json().encode()).hexdigest(),
        DURATION: format_duration(spec.duration),
        MEMORY: str(spec.resources.memory),
        STORAGE: str(spec.resources.storage),
        PORTS: " ".join(f"{port.port}/{port.protocol}" for port in spec.ports if port.public),
    }


def lease_ref(key: str, container_id: str, labels: Mapping[str, str]) -> LeaseRef:
    return LeaseRef(key=key, network_id=container_id, data={"price": labels.get(PRICE, "")})


def price_of(text: str, currency: str) -> Money:
    """The hourly price in a label; nothing where the label is missing or broken."""
    try:
        return Money.model_validate(text)
    except ValidationError:
        return Money.zero(currency)
