"""What the claims of another service mean here, and what its settings may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from cortex.domain.rights import Role
from cortex.domain.sso import Identity, OidcProvider, claim_at, is_safe_url, role_of, wanted_name

ROLES = {"root": Role.ADMIN, "dev": Role.DEVELOPER, "watch": Role.VIEWER}


def provider(**values: Any) -> OidcProvider:
    return OidcProvider(issuer="https://id.example.org", client_id="cortex", **values)


def identity(**claims: Any) -> Identity:
    return Identity.of({"iss": "https://id.example.org", "sub": "1", **claims})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("roles", ["a"]),
        ("realm.access.roles", ["b"]),
        ("https://example.org/roles", ["c"]),
        ("realm.none", None),
        ("roles.0", None),
        ("nothing", None),
    ],
)
def test_where_a_claim_stands(path: str, value: object) -> None:
    claims = {
        "roles": ["a"],
        "realm": {"access": {"roles": ["b"]}},
        "https://example.org/roles": ["c"],
    }
    assert claim_at(claims, path) == value


@pytest.mark.parametrize(
    ("said", "role"),
    [
        (["dev", "root", "other"], Role.ADMIN),
        ("watch", Role.VIEWER),
        (["other"], None),
        ([], None),
        (None, None),
        ([{"root": 1}, 7], None),
        ({"root": True}, None),
    ],
)
def test_the_role(said: object, role: Role | None) -> None:
    claims = {"groups": said}
    assert role_of(provider(roles_claim="groups", roles=ROLES), claims) is role
    fallen_back = provider(roles_claim="groups", roles=ROLES, default_role=Role.BILLING)
    assert role_of(fallen_back, claims) is (role or Role.BILLING)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("ann", "ann"),
        ("Ann.Lee@example.org", "ann.lee"),
        ("Zoë Müller", "zoe-muller"),
        ("7of9", "of9"),
        ("...", None),
        ("王", None),
        (12, None),
        ("x" * 100, "x" * 63),
    ],
)
def test_the_name(said: object, name: str | None) -> None:
    assert wanted_name(provider(), identity(preferred_username=said)) == name


@pytest.mark.parametrize(
    ("verified", "email"),
    [(True, "ann@x.org"), ("true", "ann@x.org"), (False, None), ("yes", None), (None, None)],
)
def test_only_a_verified_address_counts(verified: object, email: str | None) -> None:
    assert identity(email="Ann@X.org", email_verified=verified).email == email


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example.org/x", True),
        ("http://127.0.0.1:80/x", True),
        ("http://[::1]/x", True),
        ("http://localhost", True),
        ("http://id.example.org", False),
        ("http://10.0.0.1", False),
        ("ftp://127.0.0.1", False),
        ("https://", False),
        ("", False),
    ],
)
def test_where_secrets_may_be_sent(url: str, safe: bool) -> None:
    assert is_safe_url(url) is safe


@pytest.mark.parametrize(
    "values",
    [
        {"issuer": "http://id.example.org"},
        {"issuer": "https://id.example.org/?a=1"},
        {"scopes": ("email",)},
        {"roles": ROLES},
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
    ],
)
def test_settings_that_are_refused(values: dict[str, Any]) -> None:
    good = {"issuer": "https://id.example.org", "client_id": "cortex"}
    with pytest.raises(ValidationError):
        OidcProvider(**{**good, **values})
