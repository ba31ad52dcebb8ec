"""The list of deployments: what fits a query, in pages that are named by their neighbours."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simulators.nosana.state import Deployment, moment

_LIMITS = ("10", "20", "50", "100")
_EACH = "must be equal to constant"
_BAD_LIMIT = ", ".join(
    [
        *[f"querystring/limit must be number, querystring/limit {_EACH}"] * 4,
        *[f"querystring/limit {_EACH}"] * 4,
        "querystring/limit must match a schema in anyOf",
    ]
)
_BAD_ORDER = ", ".join(
    [
        *[f"querystring/sort_order {_EACH}"] * 2,
        "querystring/sort_order must match a schema in anyOf",
    ]
)
Mark = tuple[str, str]


class BadCursor(Exception):
    """It is none that was given out."""


@dataclass(frozen=True)
class Page:
    """A page, with the cursors of those before and after it."""

    items: Sequence[Deployment]
    after: str | None
    before: str | None
    total: int


def complaint(query: Mapping[str, str]) -> str:
    """What the service's own check says of a query; empty if it passes."""
    if query.get("limit", "10") not in _LIMITS:
        return _BAD_LIMIT
    if query.get("sort_order", "desc") not in ("asc", "desc"):
        return _BAD_ORDER
    return ""


def page(deployments: Sequence[Deployment], query: Mapping[str, str]) -> Page:
    """Ten of those that fit, newest first, unless the query says otherwise.

    Raises:
        BadCursor: the query's cursor cannot be read.
    """
    newest_first = query.get("sort_order", "desc") == "desc"
    fitting = [deployment for deployment in deployments if _fits(deployment, query)]
    ordered = sorted(fitting, key=_mark, reverse=newest_first)
    limit = int(query.get("limit", "10"))
    start = 0
    if query.get("cursor"):
        mark, backwards = _read(query["cursor"])
        passed = [
            (_mark(deployment) > mark) if newest_first else (_mark(deployment) < mark)
            for deployment in ordered
        ]
        start = sum(passed)  # how many come before it
        if not backwards:
            start += sum(_mark(deployment) == mark for deployment in ordered)
        else:
            # As recorded: going back, the service leaves out the neighbour of the cursor.
            start, limit = max(0, start - limit - 1), min(limit, start)
    shown = ordered[start : start + limit]
    more = start + limit < len(ordered)
    return Page(
        shown,
        _cursor(shown[-1], "next") if shown and more else None,
        _cursor(shown[0], "prev") if shown and start else None,
        len(ordered),
    )


def _fits(deployment: Deployment, query: Mapping[str, str]) -> bool:
    wanted = query.get("search", "").lower()
    states = query["status"].split(",") if query.get("status") else []
    return (
        query.get("name", deployment.name) == deployment.name
        and query.get("id", deployment.id) == deployment.id
        and (wanted in deployment.name.lower() or wanted in deployment.id.lower())
        and (not states or deployment.status in states)
    )


def _mark(deployment: Deployment) -> Mark:
    return moment(deployment.created_at), deployment.id


def _cursor(deployment: Deployment, direction: str) -> str:
    value, own = _mark(deployment)
    text = json.dumps(
        {"sort_field_value": value, "_id": own, "direction": direction}, separators=(",", ":")
    )
    return base64.b64encode(text.encode()).decode()


def _read(cursor: str) -> tuple[Mark, bool]:
    try:
        content = json.loads(base64.b64decode(cursor, validate=True))
        return (str(content["sort_field_value"]), str(content["_id"])), content[
            "direction"
        ] == "prev"
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise BadCursor from error
