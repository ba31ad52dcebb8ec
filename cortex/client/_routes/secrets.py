"""The routes about secrets: how each request is built and its answer read. No I/O."""

from cortex.client._routes.call import Call, get, post
from cortex.schemas.secrets import RotationView


def rotation() -> Call[RotationView]:
    return get("/secrets/rotation", RotationView)


def rotate() -> Call[RotationView]:
    return post("/secrets/rotation", RotationView, {})
