"""Helpers of the tests of GraphQL."""

from typing import Any, Final

import httpx

GRAPHQL: Final = "/graphql"
Answer = dict[str, Any]


async def ask(
    client: httpx.AsyncClient,
    query: str,
    headers: dict[str, str] | None = None,
    **variables: Any,
) -> Answer:
    """The answer to an operation, with data and errors."""
    body = {"query": query, "variables": variables}
    answer = await client.post(GRAPHQL, json=body, headers=headers)
    assert answer.status_code in (200, 400), answer.text
    told: Answer = answer.json()
    return told


async def data(
    client: httpx.AsyncClient,
    query: str,
    headers: dict[str, str] | None = None,
    **variables: Any,
) -> Answer:
    """The data of an operation that must succeed."""
    answer = await ask(client, query, headers, **variables)
    assert "errors" not in answer, answer["errors"]
    found: Answer = answer["data"]
    return found


async def refusal(
    client: httpx.AsyncClient,
    query: str,
    headers: dict[str, str] | None = None,
    **variables: Any,
) -> Answer:
    """The one error of an operation that must fail: its code, and its message."""
    answer = await ask(client, query, headers, **variables)
    (error,) = answer["errors"]
    return {"message": error["message"], **error["extensions"]}
