"""How a lease key is carried by the network.

The name of the SDL's placement ends up on the chain (`group_spec.name`), and as the deployment's
`name` where the Console has names. It holds the key and the little that must be known of a job of
which nothing else is left: its kind, and the port behind its web address.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef
from providers.errors import InvalidSpec

SERVICE = "job"
"""The name of the one service of a deployment."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_FORM = re.compile(
    r"(?P<mark>[a-z][a-z0-9]*)-(?P<body>[0-9a-z]{26})-(?P<try>\d+)-(?P<kind>[bs])(?P<port>\d*)"
)


@dataclass(frozen=True)
class Marker:
    """What a placement name says."""

    mark: str
    key: str
    batch: bool
    ingress: int | None = None

    def __str__(self) -> str:
        kind = "b" if self.batch else "s"
        body = self.key.removeprefix("job_")
        return f"{self.mark}-{body}-{kind}{self.ingress or ''}"

    @property
    def data(self) -> dict[str, str]:
        """What is put into the reference of a lease."""
        return {"marker": str(self)}


def marker_of(name: str, mark: str) -> Marker | None:
    """Read a placement name; None if it is none of ours."""
    match = _FORM.fullmatch(name)
    if match is None or match["mark"] != mark:
        return None
    key = f"job_{match['body']}-{match['try']}"
    if not is_lease_key(key):
        return None
    port = int(match["port"]) if match["port"] else None
    return Marker(mark, key, match["kind"] == "b", port)


def lease_ref(dseq: str, marker: Marker) -> LeaseRef:
    """The reference of a deployment of which only the network is left to tell."""
    return LeaseRef(key=marker.key, network_id=dseq, data=marker.data)


def born(key: str) -> datetime:
    """When the job of this key was made: nothing of it can be older at the network."""
    if not is_lease_key(key):
        raise InvalidSpec(f"`{key}` is no lease key")
    number = 0
    for letter in key.removeprefix("job_")[:10]:
        number = number << 5 | _ALPHABET.index(letter)
    return datetime.fromtimestamp(number / 1000, UTC)
