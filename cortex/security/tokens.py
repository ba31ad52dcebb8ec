"""Access tokens: JWTs that are signed with Ed25519. Loaded with the first one: joserfc is large."""

from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
"""As RFC 9864 names it; `EdDSA`, which left the curve open, is deprecated by it."""
TYPE: Final = "at+jwt"

SigningKey = OKPKey


class BadToken(Exception):
    """What is wrong with a token, in plain words."""


def new_key(key_id: str) -> SigningKey:
    """A new key pair."""
    return OKPKey.generate_key("Ed25519", {"kid": key_id, "use": "sig", "alg": ALGORITHM})


def private_parts(key: SigningKey) -> dict[str, str]:
    """The whole key, to be sealed."""
    return {name: str(value) for name, value in key.as_dict(private=True).items()}


def public_parts(key: SigningKey) -> dict[str, str]:
    """What everybody may know of it, as a JWK."""
    return {name: str(value) for name, value in key.as_dict(private=False).items()}


def read_key(parts: dict[str, str]) -> SigningKey:
    """A key from its parts."""
    return OKPKey.import_key(dict(parts))


def sign(key: SigningKey, key_id: str, content: bytes) -> str:
    """A token with this content, in its compact form."""
    header = {"alg": ALGORITHM, "kid": key_id, "typ": TYPE}
    return jws.serialize_compact(header, content, key, algorithms=[ALGORITHM])


def key_id_of(token: str) -> str:
    """Id of the key that a token says it is signed with.

    Raises:
        BadToken: it is no token of ours by its header: nothing else of it is looked at.
    """
    try:
        header: dict[str, Any] = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError):
        raise BadToken("it cannot be read") from None
    algorithm = header.get("alg")
    if algorithm != ALGORITHM:
        raise BadToken(f"it is signed with `{str(algorithm)[:20]}` and not with `{ALGORITHM}`")
    key_id = header.get("kid")
    if header.get("typ") != TYPE or not isinstance(key_id, str):
        raise BadToken("it is a token for something else")
    return key_id


def verified(token: str, key: SigningKey) -> bytes:
    """The content of a token.

    Raises:
        BadToken: it was not signed with this key.
    """
    try:
        return jws.deserialize_compact(token, key, algorithms=[ALGORITHM]).payload
    except (JoseError, ValueError):
        raise BadToken("its signature is wrong") from None
