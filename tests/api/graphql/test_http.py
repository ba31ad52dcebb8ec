"""`POST /graphql`: what a request may be, and what is answered to one that is none."""

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cortex.settings import Settings
from tests.api.graphql.support import GRAPHQL, ask
from tests.api.support import AUTH, check_problem, client_of

_ME = "{ me { user } }"


class TestRequests:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "malformed_body"),
            (b"{", "malformed_body"),
            (b"[]", "malformed_body"),
            (b"null", "malformed_body"),
            (b'[{"query": "{ me { user } }"}]', "malformed_body"),
            (b"{}", "invalid_request"),
            (b'{"query": 7}', "invalid_request"),
            (b'{"query": ""}', "malformed_body"),
            (b'{"query": "#"}', "malformed_body"),
            (b'{"query": "{ me { user }"}', "malformed_body"),
            (b'{"query": "{ nothing }"}', "invalid_request"),
            (b'{"query": "{ me }"}', "invalid_request"),
            (b'{"query": "{ me { user } }", "variables": []}', "invalid_request"),
            (b'{"query": "{ me { user } }", "operationName": "x"}', "invalid_request"),
            (b'{"query": "query a { me { user } } query b { me { user } }"}', "invalid_request"),
            (b'{"query": "fragment f on Me { user }"}', "invalid_request"),
            (b'{"query": "type X { a: Int }"}', "invalid_request"),
            (b'{"query": "{ me { user } }", "extensions": 1}', "invalid_request"),
            (b'{"query": "{ me { user } }", "variables": {"a": "\\u0000"}}', "invalid_request"),
            (b'{"query": "{ me { user } }", "variables": {"\\u0000": 1}}', "invalid_request"),
            (b'{"query": "subscription { events { id } }"}', "invalid_request"),
            (b"\xff\xfe", "malformed_body"),
            (b'{"query": "\\ud800"}', "malformed_body"),
        ],
    )
    async def test_nonsense(self, client: httpx.AsyncClient, body: bytes, code: str) -> None:
        answer = await client.post(
            GRAPHQL, content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, answer.text
        found: dict[str, Any] = answer.json()
        assert found["errors"][0]["extensions"]["code"] == code, found
        assert "data" not in found
        assert "Traceback" not in answer.text

    async def test_deep_variables(self, client: httpx.AsyncClient) -> None:
        value: Any = 1
        for _ in range(60):
            value = [value]
        (error,) = (await ask(client, _ME, value=value))["errors"]
        assert error["extensions"]["code"] == "query_too_complex"

    async def test_wrong_variables(self, client: httpx.AsyncClient) -> None:
        query = 'query ($x: Int!) { job(id: "x") { events(first: $x) { nodes { id } } } }'
        values: tuple[Any, ...] = ("x", None, 1.5, [], {})
        for value in values:
            (error,) = (await ask(client, query, x=value))["errors"]
            assert error["extensions"]["code"] == "invalid_request", value

    async def test_forms_of_other_pages_are_not_taken(self, client: httpx.AsyncClient) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = await client.post(
                GRAPHQL, content=b'{"query": "{ me { user } }"}', headers={"content-type": kind}
            )
            check_problem(answer, 415, "unsupported_media_type")

    async def test_a_body_beyond_the_limit(self, client: httpx.AsyncClient) -> None:
        body = {"query": _ME, "variables": {"x": "y" * 3 * 2**20}}
        check_problem(await client.post(GRAPHQL, json=body), 413, "payload_too_large")

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
    async def test_other_methods(self, client: httpx.AsyncClient, method: str) -> None:
        answer = await client.request(method, GRAPHQL)
        check_problem(answer, 405, "method_not_allowed")
        assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))

    async def test_a_choice_of_operations(self, client: httpx.AsyncClient) -> None:
        query = "query a { me { user } } query b { me { role } }"
        answer = await client.post(GRAPHQL, json={"query": query, "operationName": "b"})
        assert answer.json() == {"data": {"me": {"role": "ADMIN"}}}

    async def test_the_type_of_an_answer(self, client: httpx.AsyncClient) -> None:
        for accept, kind in (
            ("application/graphql-response+json", "application/graphql-response+json"),
            ("*/*", "application/json"),
        ):
            answer = await client.post(GRAPHQL, json={"query": _ME}, headers={"accept": accept})
            assert answer.headers["content-type"] == kind
            assert answer.headers["cache-control"] == "no-store"

    async def test_introspection(self, client: httpx.AsyncClient) -> None:
        from graphql import build_client_schema, get_introspection_query

        found = (await ask(client, get_introspection_query()))["data"]
        assert "Job" in build_client_schema(found).type_map


class TestMiddleware:
    async def test_requests_are_limited_as_those_of_rest(
        self, settings: Settings, providers: None
    ) -> None:
        limited = settings.api.model_copy(update={"requests_per_minute": 2})
        async with client_of(settings.model_copy(update={"api": limited})) as client:
            first = await client.post(GRAPHQL, json={"query": _ME})
            assert first.headers["ratelimit"].startswith('"requests";r=1')
            assert (await client.get("/api/v1/info")).status_code == 200
            check_problem(await client.post(GRAPHQL, json={"query": _ME}), 429, "rate_limited")

    async def test_without_any_key_this_machine_only(
        self, settings: Settings, providers: None
    ) -> None:
        open_ = settings.model_copy(update={"api": settings.api.model_copy(update={"key": None})})
        async with client_of(open_) as client:
            del client.headers["authorization"]
            answer = await client.post(GRAPHQL, json={"query": _ME})
            assert answer.json() == {"data": {"me": {"user": "local"}}}
            page = {"origin": "https://elsewhere.example"}
            answer = await client.post(GRAPHQL, json={"query": _ME}, headers=page)
            check_problem(answer, 401, "not_authenticated")

    async def test_the_database_is_away(self, settings: Settings) -> None:
        database = settings.database.model_copy(
            update={"url": SecretStr("postgresql://127.0.0.1:1/none")}
        )
        async with client_of(settings.model_copy(update={"database": database})) as client:
            answer = await client.post(
                GRAPHQL, json={"query": "{ me { user } jobs { nodes { id } } }"}, headers=AUTH
            )
            found = answer.json()
            assert found["data"] == {"me": {"user": "local"}, "jobs": None}
            (error,) = found["errors"]
            assert error["extensions"]["code"] == "database_unavailable"
