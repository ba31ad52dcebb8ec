"""Connections: pages of lists, with the cursors of REST's lists."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import strawberry

from api.graphql.access import plain
from api.graphql.scalars import Row
from cortex.domain.errors import FieldError, InvalidRequest
from cortex.services.pagination import encode_cursor

T = TypeVar("T")

DEFAULT: Final = 50
MOST: Final = 500


@plain
@strawberry.type(description="Where a page ends.")
class PageInfo:
    has_next_page: bool
    end_cursor: str | None = strawberry.field(
        description="`after` of the next page. Lists of events have one after their last event too."
    )


@plain
@strawberry.type(description="An entry with its place in the list.")
class Edge(Generic[T]):
    cursor: str
    node: T


@plain
@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    nodes: list[T]
    edges: list[Edge[T]]
    page_info: PageInfo


def by_time(row: Row) -> str:
    """The cursor of an entry of a list that is ordered by time and id."""
    return encode_cursor((datetime.fromisoformat(row["created_at"]), row["id"]))


def connection(page: Row, cursor_of: Callable[[Row], str], *, limit: int) -> Row:
    """A page of REST as a connection."""
    rows: list[Row] = page["items"]
    place: str | None = page["next_cursor"]
    return {
        "nodes": rows,
        "edges": [{"cursor": cursor_of(row), "node": row} for row in rows],
        "page_info": {
            # Lists of events have a place after their last entry, whether more come or not.
            "has_next_page": place is not None and len(rows) >= limit,
            "end_cursor": place,
        },
    }


def counted(first: int, *, most: int = MOST) -> int:
    """The length of a page.

    Raises:
        InvalidRequest: it is too long, or none.
    """
    if 1 <= first <= most:
        return first
    raise wrong("first", f"must be from 1 to {most}")


def wrong(name: str, message: str) -> InvalidRequest:
    """An argument that is not taken."""
    return InvalidRequest(
        f"the request is not valid: `{name}` {message}",
        errors=[FieldError(field=name, message=message)],
    )


def rows_of(models: Any) -> list[Row]:
    """Models as rows."""
    return [model.model_dump(mode="json") for model in models]
