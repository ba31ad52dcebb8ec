"""Seals the secrets of a job for the newer Console, so that they lie readable nowhere there.

The SDL names them (`TOKEN=ac-secret://NAME`), their values go beside it: one compact JWE to the
Console's public key (RSA-OAEP-256, A256GCM), whose plaintext is a flat JSON object of names and
values, and whose header carries `kid`, `sub`, `exp` (within 15 minutes) and the SDL's hash. Read in
the Console's source (`sdl-secrets-unsealer.service.ts`, `sdl-reference.service.ts` and the sealing
in its own web client), not seen live. The manifest's hash on the chain is that of the real values.
"""

import base64
import copy
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from cortex.domain.spec import JobSpec
from providers.akash.console import wire
from providers.akash.sdl.render import Rendered
from providers.errors import Unavailable, Unsuitable
from providers.variables import CARRIER

_ALGORITHMS = ["RSA-OAEP-256", "A256GCM"]
_LIFETIME = 5 * 60
MOST = 100
LARGEST = 16 * 1024
RESERVED = "ac-"
# Links of the drop box: whoever has them can read and write the job's files.
LINKS = ("CORTEX_RUNNER_RESULT_URL", "CORTEX_RUNNER_INPUTS_URL", "CORTEX_RUNNER_OUTPUTS_URL")


@dataclass(frozen=True)
class Hidden:
    """A job whose SDL only names its secrets; `values` are those secrets."""

    text: str
    values: dict[str, str] = field(repr=False)


def secret_names(spec: JobSpec) -> frozenset[str]:
    """The variables of a job whose values are nobody's business."""
    return frozenset(spec.secret_env) | frozenset(LINKS)


def hide(rendered: Rendered, secret: Collection[str]) -> Hidden:
    """Take secret values out of the SDL, and those that look like references and are none.

    Raises:
        Unsuitable: they are more or larger than the Console takes.
    """
    sdl, secret = copy.deepcopy(rendered.sdl), frozenset(secret)
    values: dict[str, str] = {}
    for service in sdl["services"].values():
        for index, entry in enumerate(service.get("env") or ()):
            name, _, value = entry.partition("=")
            # One whose name no shell can hold travels with it under another.
            carried = value.partition("=")[0] if name.startswith(CARRIER) else name
            if not {name, carried} & secret and not value.startswith(RESERVED):
                continue
            if len(json.dumps(value, ensure_ascii=False).encode()) - 2 > LARGEST:
                raise Unsuitable(
                    f"the variable `{name}` is larger than the 16 KiB that Akash's Console seals; "
                    "`seal_secrets: never` of the provider's configuration sends it readable"
                )
            reference = f"CORTEX_SECRET_{len(values) + 1}"
            values[reference] = value
            service["env"][index] = f"{name}=ac-secret://{reference}"
    if len(values) > MOST:
        raise Unsuitable(f"Akash's Console seals at most {MOST} secrets of a job")
    return Hidden(replace(rendered, sdl=sdl).text, values)


def seal(hidden: Hidden, context: wire.SealContext, now: int) -> str:
    """The JWE that goes with the SDL. `now`: seconds since 1970 by the Console's clock.

    Raises:
        Unavailable: the Console's key is of a kind that is not known here.
    """
    digest = hashlib.sha256(hidden.text.encode()).digest()
    header: dict[str, Any] = {
        "alg": "RSA-OAEP-256",
        "enc": "A256GCM",
        "kid": context.kid,
        "sub": context.sub,
        "exp": now + _LIFETIME,
        "sdlHash": base64.urlsafe_b64encode(digest).decode().rstrip("="),
    }
    missing = set(context.required_claims) - header.keys()
    if missing:
        raise Unavailable(f"the Akash Console wants more of a seal: {', '.join(sorted(missing))}")
    try:
        key = RSAKey.import_key({"kty": context.jwk.kty, "n": context.jwk.n, "e": context.jwk.e})
        # `sub`, `exp` and `sdlHash` are the Console's, not of the standard.
        registry = jwe.JWERegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        plain = json.dumps(hidden.values, ensure_ascii=False).encode()
        return jwe.encrypt_compact(header, plain, key, registry=registry)
    except (JoseError, ValueError) as error:
        name = type(error).__name__
        raise Unavailable(f"the Akash Console's key for secrets cannot be used ({name})") from None
