"""Failed logins: how long one has to wait after them."""

import ipaddress
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Duration


class LockoutRules(BaseModel):
    """How failed logins are slowed down: for one account, and for one address.

    The wait doubles with each failure up to `longest_wait`, and nothing is locked for good. API
    keys and open sessions are never held up. Whoever comes from an address where the account has
    logged in lately waits for failures of that address only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    account_free: int = Field(
        default=5, ge=2, le=1000, description="Failures as one user before one has to wait."
    )
    address_free: int = Field(
        default=20, ge=2, le=100_000, description="Failures from one address before it has to wait."
    )
    first_wait: Duration = Field(
        default=timedelta(seconds=1),
        gt=timedelta(0),
        le=timedelta(minutes=1),
        description="After the last free failure; doubles with each.",
    )
    longest_wait: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(hours=1),
        description="Nobody waits for longer.",
    )
    forget: Duration = Field(
        default=timedelta(hours=2),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="After so long without a failure counting begins anew.",
    )
    known_for: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(0),
        description="An address where the user has logged in within this time is known.",
    )


@dataclass(frozen=True)
class Limit:
    """The rules for one kind of subject: an account or an address."""

    free: int
    first_wait: timedelta
    longest_wait: timedelta
    forget: timedelta


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the network of one customer (/64)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
