"""Logging in by another service (OpenID Connect): its settings, and what its claims mean here."""

import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from cortex.domain.accounts import USER_NAME
from cortex.domain.quantities import Duration
from cortex.domain.rights import Role

SSO_NAME: Final = "^[a-z][a-z0-9-]{0,30}$"
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
]  # fmt: skip
"""Asymmetric ones only: with a shared secret, or none, anybody could make tokens."""

_LONGEST_CLAIM: Final = 255


def is_safe_url(url: str) -> bool:
    """Whether secrets may be sent there: by HTTPS, or to this machine itself."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    host = parts.hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return parts.scheme == "http" and here


def _issuer(text: str) -> str:
    parts = urlsplit(text)
    if not is_safe_url(text) or parts.query or parts.fragment or parts.username:
        raise ValueError("must be `https://…` without query or fragment; `http://` on this machine")
    return text


class OidcProvider(BaseModel):
    """One service by which people log in, as `[oidc.NAME]` names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, AfterValidator(_issuer)] = Field(
        description="Its address, exactly as it writes it itself (`iss`)."
    )
    client_id: str = Field(min_length=1, max_length=200)
    client_secret: SecretStr | None = Field(
        default=None, description="None: a public client, which PKCE alone protects."
    )
    title: str = Field(default="", max_length=60, description="What people know it by.")
    scopes: tuple[str, ...] = Field(default=("openid", "profile", "email"))
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA", "Ed25519"),
        min_length=1,
        description="By which its tokens may be signed.",
    )
    userinfo: bool = Field(
        default=True, description="Ask it for the claims that the token does not have."
    )
    name_claim: str = Field(
        default="preferred_username",
        description="Names new users; of an e-mail address what stands before the `@`.",
    )
    roles_claim: str | None = Field(
        default=None,
        description="Where the roles stand: the name of a claim, or names with dots between them. "
        "With it roles are set anew at each login; without, admins set them.",
    )
    roles: dict[str, Role] = Field(
        default_factory=dict, description="What it calls a role or group, to the role here."
    )
    default_role: Role | None = Field(
        default=None, description="Of whoever has none of these; none: they are refused."
    )
    create_users: bool = Field(default=True, description="Add whoever comes for the first time.")
    link_by: Literal["none", "name", "email"] = Field(
        default="none",
        description="Take whoever comes first for the user here of the same name, or of the same "
        "verified e-mail address at another of these services. Only where the service lets nobody "
        "choose these.",
    )
    require_verified_email: bool = Field(
        default=False, description="Refuse whose e-mail address it has not verified."
    )
    leeway: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="How far its clock may differ from ours.",
    )
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0))

    @model_validator(mode="after")
    def _says_roles(self) -> "OidcProvider":
        if "openid" not in self.scopes:
            raise ValueError("`scopes` must have `openid`")
        if self.roles and self.roles_claim is None:
            raise ValueError("`roles` are of no use without `roles_claim`")
        return self


@dataclass(frozen=True)
class Identity:
    """Somebody as another service knows them; `issuer` and `subject` never change.

    Attributes:
        email: Only if the service says that it is verified.
        claims: All that it says, from the token and beside it.
    """

    issuer: str
    subject: str
    email: str | None
    claims: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> "Identity":
        """Whom checked claims are about."""
        email = claims.get("email")
        # Some say it as a text; whatever else stands there is no `true`.
        good = claims.get("email_verified") in (True, "true") and isinstance(email, str)
        return cls(claims["iss"], claims["sub"], email.lower() if good and email else None, claims)


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name, else what is found along the parts between the dots; None: nothing.

    Names of claims may have dots themselves, as those that are addresses do.
    """
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def role_of(provider: OidcProvider, claims: Mapping[str, Any]) -> Role | None:
    """The role by the claims, of several the one that stands first in `Role`; None: none."""
    if provider.roles_claim is None:
        return provider.default_role
    said = claim_at(claims, provider.roles_claim)
    words = {said} if isinstance(said, str) else set()
    if isinstance(said, list):
        words = {word for word in said if isinstance(word, str)}
    given = {provider.roles[word] for word in words if word in provider.roles}
    return next((role for role in Role if role in given), provider.default_role)


def wanted_name(provider: OidcProvider, identity: Identity) -> str | None:
    """The name that a new user gets; None: the claims give none that can be one."""
    said = claim_at(identity.claims, provider.name_claim) or identity.email
    if not isinstance(said, str):
        return None
    plain = unicodedata.normalize("NFKD", said[:_LONGEST_CLAIM].partition("@")[0])
    ascii_only = plain.encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", ascii_only).lstrip("0123456789._-")[:63].rstrip("-._")
    return name if re.fullmatch(USER_NAME, name) else None
