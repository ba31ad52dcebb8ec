"""The key ring: whether it is well-formed, and opens everything that is stored."""

from cortex.doctor.database import Stored
from cortex.doctor.findings import Finding, fault, fine, unknown, warning
from cortex.domain.errors import CortexError
from cortex.security.keyring import KeyRing
from cortex.settings import Settings

_NAME = "key ring"


def check_key_ring(settings: Settings, stored: list[Stored] | None) -> Finding:
    """`stored`: what is encrypted in the database, of each kind and key; None: not known."""
    try:
        ring = KeyRing.from_setting(settings.encryption_keys)
    except CortexError as error:
        return fault(_NAME, error.detail, "correct the setting `encryption_keys`")
    if stored is None:
        return unknown(_NAME, "what is encrypted is not known without the database")
    missing = [each for each in stored if each.key not in ring.ids]
    if missing:
        fix = "add it to `encryption_keys`, from your backup of the keys"
        return fault(_NAME, _needed(missing, "is not in it"), fix)
    closed = [each for each in stored if not _opens(ring, each)]
    if closed:
        fix = "put the right one under this id, from your backup of the keys: it is another one"
        return fault(_NAME, _needed(closed, "does not open them"), fix)
    if ring.newest is None:
        detail = "there is none: jobs with `secret_env`, logins and webhooks are refused"
        fix = "set `encryption_keys` to `id:base64` of 32 random bytes, and back it up elsewhere"
        return warning(_NAME, detail, fix)
    old = sorted({each.key for each in stored if each.key != ring.newest})
    if old:
        detail = f"`{ring.newest}` encrypts; {', '.join(f'`{key}`' for key in old)} still in use"
        return warning(_NAME, detail, "`cortex secrets rotate`; then the old ones can be removed")
    return fine(_NAME, f"`{ring.newest}` encrypts, and opens what is stored")


def _opens(ring: KeyRing, stored: Stored) -> bool:
    try:
        ring.open(stored.example.blob, stored.example.place)
    except CortexError:
        return False
    return True


def _needed(stored: list[Stored], trouble: str) -> str:
    """By key: what is wrong with it, and who needs it."""
    kinds: dict[str, list[str]] = {}
    for each in stored:
        kinds.setdefault(each.key, []).append(f"{each.count} of {each.example.what}")
    return "; ".join(
        f"key `{key[:40]}` {trouble}, and {', '.join(names)} need it"
        for key, names in kinds.items()
    )
