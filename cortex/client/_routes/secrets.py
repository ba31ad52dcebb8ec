"""The routes about secrets: how each request is built and its answer read. No I/O."""

from dataclasses import replace

from cortex.client._routes.call import V1, Call, get, post, query, send
from cortex.client.encoding import quoted
from cortex.domain.named_secrets import NamedSecret
from cortex.schemas.secrets import NamedSecretPage, RotationView


def rotation() -> Call[RotationView]:
    return get("/secrets/rotation", RotationView)


def rotate() -> Call[RotationView]:
    return post("/secrets/rotation", RotationView, {})


def secrets(project: str | None) -> Call[NamedSecretPage]:
    return get("/secrets", NamedSecretPage, query(project=project))


def secret(name: str, project: str | None) -> Call[NamedSecret]:
    return get(_secret(name), NamedSecret, query(project=project))


def set_secret(name: str, value: str, project: str | None) -> Call[NamedSecret]:
    call = send("PUT", _secret(name), NamedSecret, {"value": value})
    return replace(call, params=query(project=project))


def delete_secret(name: str, project: str | None) -> Call[None]:
    return Call("DELETE", V1 + _secret(name), lambda _: None, query(project=project))


def _secret(name: str) -> str:
    return f"/secrets/{quoted(name, safe='')}"
