"""Sealed secrets, as the newer Console takes them (read in its source, never seen live).

The values of a deployment come as one compact JWE beside the SDL, which only names them
(`TOKEN=ac-secret://NAME`). No answer ever tells them again.
"""

import base64
import hashlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from simulators.akash import sdl
from simulators.akash.errors import Refusal

if TYPE_CHECKING:
    from simulators.akash.world import AkashWorld

USER = "0b9c1f9e-3d52-4a6e-9a53-5f0f5f1d9d10"
KID = "simulated-sealing-key/1"
_LONGEST_LIFE = 15 * 60
_MOST = 100
_LARGEST = 16 * 1024
_REFERENCE = re.compile(r"ac-secret://(?P<name>[A-Za-z_][A-Za-z0-9_]{0,63})")
_RESERVED = "ac-"


@cache
def _key() -> RSAKey:
    return RSAKey.generate_key(2048)


def context() -> dict[str, Any]:
    """The key that secrets are sealed to, and what must stand in the header of a seal."""
    public = _key().as_dict(private=False)
    jwk = {name: public[name] for name in ("kty", "n", "e")}
    return {
        "sub": USER,
        "kid": KID,
        "jwk": {**jwk, "use": "enc", "alg": "RSA-OAEP-256"},
        "requiredClaims": ["kid", "sub", "exp"],
    }


def resolve(world: "AkashWorld", text: str, seal: str | None) -> tuple[str, str]:
    """The SDL with the sealed values in their places, and the one that is kept: without values.

    Raises:
        Refusal: the seal cannot be opened, or does not fit the SDL.
    """
    try:
        document = sdl.read(text)
        services = dict(document["services"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise Refusal(400, "BadRequestError", f"Invalid SDL: {type(error).__name__}") from error
    kept = sdl.read(text)
    values = _opened(world, text, seal) if seal else {}
    used = set()
    for place, (name, service) in enumerate(services.items()):
        for index, entry in enumerate(service.get("env") or ()):
            variable, _, value = entry.partition("=")
            match = _REFERENCE.fullmatch(value)
            if match is None and value.startswith(_RESERVED):
                raise Refusal(400, "BadRequestError", f'Invalid SDL: "{value[:120]}" {_NOT_KNOWN}')
            if match is not None:
                used.add(match["name"])
                if match["name"] not in values:
                    raise Refusal(400, "BadRequestError", _missing(match[0], name))
                service["env"][index] = f"{variable}={values[match['name']]}"
            elif not seal:  # nobody has said what is secret: everything is taken out
                hidden = f"{variable}=ac-secret://s{place}_e{index}"
                kept["services"][name]["env"][index] = hidden
    for name in values:
        if name not in used:
            why = f'a value was supplied for "{name}" but no service\'s SDL references it'
            raise Refusal(400, "BadRequestError", f"Invalid SDL: {why}")
    resolved = yaml.safe_dump(document, sort_keys=False, allow_unicode=True) if used else text
    return resolved, yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


_NOT_KNOWN = 'is not a recognized SDL Reference and values beginning with "ac-" are reserved'


def _missing(reference: str, service: str) -> str:
    return f'Invalid SDL: no value supplied for SDL Reference "{reference}" in service "{service}"'


def _opened(world: "AkashWorld", text: str, seal: str) -> dict[str, str]:
    if seal.count(".") != 4:
        raise Refusal(400, "BadRequestError", "Sealed secrets must be a compact JWE")
    head = json.loads(base64.urlsafe_b64decode(seal.partition(".")[0] + "=="))
    if (head.get("alg"), head.get("enc")) != ("RSA-OAEP-256", "A256GCM"):
        raise Refusal(400, "BadRequestError", "Seals must use RSA-OAEP-256 and A256GCM")
    if head.get("kid") != KID:
        why = "Sealed to a key the console no longer holds; refetch the SDL secrets context"
        raise Refusal(409, "ConflictError", why)
    if head.get("sub") != USER:
        raise Refusal(403, "ForbiddenError", "Sealed for a different user")
    now = world.clock.now().timestamp()
    if not isinstance(head.get("exp"), int) or head["exp"] <= now:
        raise Refusal(400, "BadRequestError", "Sealed secrets have expired")
    if head["exp"] > now + _LONGEST_LIFE:
        raise Refusal(400, "BadRequestError", "Sealed secrets expire too far in the future")
    if "sdlHash" in head and head["sdlHash"] != sdl_hash(text):
        raise Refusal(400, "BadRequestError", "Sealed for a different SDL")
    registry = jwe.JWERegistry(algorithms=["RSA-OAEP-256", "A256GCM"], strict_check_header=False)
    try:
        plain = jwe.decrypt_compact(seal, _key(), registry=registry).plaintext
    except JoseError as error:
        raise Refusal(400, "BadRequestError", "Sealed secrets failed authentication") from error
    values = json.loads(plain or b"null")
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise Refusal(
            400, "BadRequestError", "Sealed secrets must be a flat object of string values"
        )
    _within_limits(values)
    return values


def sdl_hash(text: str) -> str:
    """What binds a seal to its SDL."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _within_limits(values: dict[str, str]) -> None:
    if len(values) > _MOST:
        why = f"At most {_MOST} secrets may be supplied for one deployment"
        raise Refusal(400, "BadRequestError", why)
    for name, value in values.items():
        if len(json.dumps(value, ensure_ascii=False).encode()) - 2 > _LARGEST:
            why = f'Secret "{name}" exceeds the maximum value size of {_LARGEST} bytes'
            raise Refusal(400, "BadRequestError", f"{why} once JSON-encoded")
