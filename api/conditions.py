"""Requests under a condition: `ETag`, `If-None-Match`, `If-Match` (RFC 9110).

A tag has two parts: the version of what can be changed, and a digest of the whole answer, which
also shows what changes by itself, such as what a budget has spent. `If-None-Match` compares all of
it, `If-Match` the version only: whoever has seen what can be changed may change it.
"""

import hashlib
import re
from typing import Annotated, Final

from fastapi import Depends, Header
from pydantic import BaseModel
from starlette.responses import Response

from api.respond import answer
from cortex.domain.versions import ANY_VERSION, Expected

_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_KEPT: Final = "private, no-cache"

IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="An `ETag`: if it is still the same, a 304."),
]


async def _expected(
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match", description="An `ETag`: nothing is changed if others did meanwhile."
        ),
    ] = None,
) -> Expected:
    if if_match is None or if_match.strip() == "*":
        return ANY_VERSION
    # A weak tag never matches here, nor does what is no tag.
    tags = [tag for weak, tag in _TAG.findall(if_match) if not weak]
    return Expected(frozenset(tag.partition(".")[0] for tag in tags))


IfMatch = Annotated[Expected, Depends(_expected)]
"""Which versions a request may change, as a parameter of a route."""


def tagged(view: BaseModel, version: str, if_none_match: str | None = None) -> Response:
    """The view with its `ETag`; a 304 without it where the caller has the same already."""
    body = view.model_dump_json()
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    tag = f'"{version}.{digest}"'
    headers = {"etag": tag, "cache-control": _KEPT}
    if if_none_match is not None and _has(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return answer(body, headers=headers)


def _has(if_none_match: str, tag: str) -> bool:
    # Weakly compared: a proxy that packs answers makes tags weak.
    known = [f'"{opaque}"' for _, opaque in _TAG.findall(if_none_match)]
    return tag in known or if_none_match.strip() == "*"
