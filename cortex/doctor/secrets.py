"""The key ring: whether it is well-formed, and opens everything that is stored."""

from cortex.doctor.findings import Finding, fault, fine, unknown, warning
from cortex.domain.errors import CortexError
from cortex.security.keyring import KeyRing
from cortex.settings import Settings

_NAME = "key ring"


def check_key_ring(settings: Settings, stored: dict[str, list[str]] | None) -> Finding:
    """`stored`: what is encrypted in the database, by the id of the key; None: not known."""
    try:
        ring = KeyRing.from_setting(settings.encryption_keys)
    except CortexError as error:
        return fault(_NAME, error.detail, "correct the setting `encryption_keys`")
    if stored is None:
        return unknown(_NAME, "what is encrypted is not known without the database")
    missing = {key: kinds for key, kinds in stored.items() if key not in ring.ids}
    if missing:
        detail = "; ".join(
            f"key `{key[:40]}` is not in it, and {', '.join(kinds)} need it"
            for key, kinds in missing.items()
        )
        return fault(_NAME, detail, "add it to `encryption_keys`, from your backup of the keys")
    if ring.newest is None:
        detail = "there is none: jobs with `secret_env`, logins and webhooks are refused"
        fix = "set `encryption_keys` to `id:base64` of 32 random bytes, and back it up elsewhere"
        return warning(_NAME, detail, fix)
    old = sorted(key for key in stored if key != ring.newest)
    if old:
        detail = f"`{ring.newest}` encrypts; {', '.join(f'`{key}`' for key in old)} still in use"
        return warning(_NAME, detail, "`cortex secrets rotate`; then the old ones can be removed")
    return fine(_NAME, f"`{ring.newest}` encrypts, and opens all that is stored")
