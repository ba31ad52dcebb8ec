"""The routes about saved filters: how each request is built and its answer read. No I/O."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cortex.client._routes.call import V1, Call, get, query, send
from cortex.client.encoding import plain, quoted
from cortex.domain.filters import SavedFilter
from cortex.schemas.filters import FilterPage


def filters() -> Call[FilterPage]:
    return get("/filters", FilterPage)


def put(name: str, jobs: Mapping[str, Any], project: str | None) -> Call[SavedFilter]:
    call = send("PUT", _filter(name), SavedFilter, plain(jobs))
    return replace(call, params=query(project=project))


def delete(name: str, project: str | None) -> Call[None]:
    # Not repeated by itself: the second answer would be that there is none.
    path, params = V1 + _filter(name), query(project=project)
    return Call("DELETE", path, lambda _: None, params, repeatable=False)


def _filter(name: str) -> str:
    return f"/filters/{quoted(name, safe='')}"
