"""Secrets: with which keys they are encrypted, and their rotation; the named ones of projects."""

from typing import Annotated

from fastapi import Depends, Path, Query
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response

from api.access import Caller, needs
from api.bodies import Body
from api.conditions import IfMatch, IfNoneMatch, tagged
from api.openapi import UNCHANGED, changed, problems
from api.respond import answer
from api.routing import api_router
from api.services import Using
from cortex.domain.named_secrets import NamedSecret
from cortex.domain.names import SECRET_NAME
from cortex.domain.rights import Action
from cortex.schemas.secrets import NamedSecretPage, NamedSecretPut, RotationView
from cortex.services.named_secrets import secret_version

router = api_router("secrets")


class _NameConvertor(StringConvertor):
    """Any name but the one word that is a path of its own."""

    regex = "(?!rotation$)[^/]+"


register_url_convertor("secret", _NameConvertor())

Name = Annotated[
    str,
    Path(
        description="Name of a secret; none is called `rotation`.",
        pattern=SECRET_NAME,
    ),
]
Project = Annotated[
    str | None, Query(description="Whose secrets; default: those of one's personal project.")
]


@router.get(
    "/secrets/rotation",
    dependencies=[needs(Action.SECRETS_READ)],
    response_model=RotationView,
    responses=problems(),
)
async def rotation(services: Using) -> Response:
    """With which keys secrets are encrypted, and how many are still under an older one."""
    return answer(await services.secrets.rotation())


@router.post(
    "/secrets/rotation",
    dependencies=[needs(Action.SECRETS_ROTATE)],
    status_code=202,
    response_model=RotationView,
    responses=problems(),
)
async def rotate(services: Using, by: Caller) -> Response:
    """Encrypt with the newest key what is under an older one; workers do it, ask how far they are.

    Harmless to repeat. They do it by themselves every hour as well.
    """
    return answer(await services.secrets.rotate(by), status=202)


@router.get(
    "/secrets",
    dependencies=[needs(Action.NAMED_SECRETS_READ)],
    response_model=NamedSecretPage,
    responses=problems(404),
)
async def list_secrets(services: Using, by: Caller, project: Project = None) -> Response:
    """The secrets of a project, by name. Their values are nowhere to be had."""
    return answer(await services.named_secrets.all(project, by))


@router.get(
    "/secrets/{name:secret}",
    dependencies=[needs(Action.NAMED_SECRETS_READ)],
    response_model=NamedSecret,
    responses={**problems(404), **UNCHANGED},
)
async def get_secret(
    name: Name,
    services: Using,
    by: Caller,
    project: Project = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One secret: who set it and when, not what it is."""
    stored = await services.named_secrets.get(name, project, by)
    return tagged(stored.info, secret_version(stored), if_none_match)


@router.put(
    "/secrets/{name:secret}",
    dependencies=[needs(Action.NAMED_SECRETS_CHANGE)],
    response_model=NamedSecret,
    responses={**problems(404, 409, 412), **changed()},
)
async def put_secret(
    name: Name,
    body: Annotated[NamedSecretPut, Depends(Body(NamedSecretPut, "the secret"))],
    services: Using,
    by: Caller,
    expected: IfMatch,
    project: Project = None,
) -> Response:
    """Set a secret. Jobs that are accepted from now on get this value; others keep what they have.

    They refer to it by `secret_env: {VARIABLE: {secret: NAME}}`.
    """
    value = body.value.get_secret_value()
    stored = await services.named_secrets.put(name, value, project, by, expected)
    return tagged(stored.info, secret_version(stored))


@router.delete(
    "/secrets/{name:secret}",
    dependencies=[needs(Action.NAMED_SECRETS_CHANGE)],
    status_code=204,
    responses=problems(404, 412),
)
async def delete_secret(
    name: Name, services: Using, by: Caller, expected: IfMatch, project: Project = None
) -> Response:
    """Take a secret away. Jobs that were accepted with it keep their copy, also for retries."""
    await services.named_secrets.remove(name, project, by, expected)
    return Response(status_code=204)
