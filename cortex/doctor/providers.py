"""Providers, as the last health check of each found them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from cortex.doctor.database import Provider
from cortex.doctor.findings import Finding, fault, fine, unknown, warning

_OLD: Final = timedelta(minutes=15)


def check_providers(providers: list[Provider] | None) -> list[Finding]:
    """A finding for each; None: the database could not be asked."""
    if providers is None:
        return [unknown("providers", "without the database, or with another schema")]
    if not providers:
        fix = "`cortex provider add`, or a section `[providers.…]` in cortex.toml and a worker"
        return [fault("providers", "there is none: no job can run", fix)]
    return [_check(provider) for provider in providers]


def _check(provider: Provider) -> Finding:
    name = f"provider {provider.id}"
    said = f"{provider.status}{f': {provider.message[:160]}' if provider.message else ''}"
    if provider.checked_at is None or datetime.now(UTC) - provider.checked_at > _OLD:
        when = (
            "never" if provider.checked_at is None else f"last at {provider.checked_at:%F %R} UTC"
        )
        fix = "run a worker that serves its queue: it checks each provider on a schedule"
        return warning(name, f"checked {when}; then {said}", fix)
    if provider.status == "online":
        return fine(name, said)
    fix = f"`cortex provider test {provider.id}` asks the network itself, and says more"
    return (warning if provider.status == "degraded" else fault)(name, said, fix)
