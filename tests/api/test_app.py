"""Access, errors, limits, health, documents: what holds for every route."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.app import Unprotected, create_app
from cortex.db.engine import Database
from cortex.domain.schema import job_spec_schema
from cortex.schemas.providers import ProviderView
from cortex.schemas.server import Health, Info
from cortex.settings import ApiSettings, Settings
from tests.api.support import AUTH, JOBS, check_problem, client_of, spec, submit


def with_api(settings: Settings, **values: Any) -> Settings:
    return settings.model_copy(update={"api": settings.api.model_copy(update=values)})


class TestAccess:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": "Bearer wrong"},
            {"x-api-key": "ẅrong"},
            {"authorization": "Basic x"},
        ],
    )
    async def test_a_wrong_key(self, settings: Settings, headers: dict[str, str]) -> None:
        async with client_of(settings) as client:
            del client.headers["authorization"]
            raw = {name: value.encode() for name, value in headers.items()}
            for path in (JOBS, "/api/v1/nothing", "/api/v1/info"):
                answer = await client.get(path, headers=raw)  # type: ignore[arg-type]
                check_problem(answer, 401, "not_authenticated")
                assert answer.headers["www-authenticate"] == "Bearer"

    async def test_either_header(self, settings: Settings) -> None:
        async with client_of(settings) as client:
            del client.headers["authorization"]
            for headers in (AUTH, {"x-api-key": "test-key"}):
                assert (await client.get("/api/v1/info", headers=headers)).status_code == 200

    async def test_without_a_key_only_this_machine(self, settings: Settings) -> None:
        async with client_of(with_api(settings, key=None)) as client:
            assert (await client.get("/api/v1/info")).status_code == 200
            for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
                answer = await client.get("/api/v1/info", headers=headers)
                check_problem(answer, 401, "not_authenticated")

    def test_refuses_to_be_open_to_the_network(self, settings: Settings) -> None:
        open_to_all = settings.model_copy(update={"api": ApiSettings(host="0.0.0.0")})
        with pytest.raises(Unprotected, match="without an API key"):
            create_app(open_to_all)


class TestErrors:
    async def test_unknown_paths_and_methods(self, client: httpx.AsyncClient) -> None:
        check_problem(await client.get("/api/v1/nothing"), 404, "not_found")
        check_problem(await client.delete(JOBS), 405, "method_not_allowed")

    async def test_the_correlation_id_is_the_callers(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/v1/nothing", headers={"x-request-id": "abc-123"})
        assert check_problem(answer, 404, "not_found").correlation_id == "abc-123"
        answer = await client.get("/api/v1/nothing", headers={"x-request-id": "bad id\t"})
        assert answer.headers["x-request-id"] != "bad id\t"

    async def test_an_unexpected_error_says_nothing_internal(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(text("ALTER TABLE jobs RENAME TO secret_table"))
        answer = await client.get(JOBS)
        check_problem(answer, 500, "internal_error")
        assert "secret_table" not in answer.text
        assert "SELECT" not in answer.text

    async def test_a_busy_server_refuses_and_health_does_not(
        self, settings: Settings, providers: None, database: Database
    ) -> None:
        busy = with_api(settings, max_in_flight=2, admission_timeout=timedelta(milliseconds=200))
        async with client_of(busy) as client, database.transaction() as tx:
            await tx.connection.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
            stuck = [asyncio.create_task(client.get(JOBS)) for _ in range(2)]
            await asyncio.sleep(0.3)
            refused = await client.get("/api/v1/info")
            assert (await client.get("/health/live")).status_code == 200
            await tx.connection.execute(text("ROLLBACK"))
            answers = await asyncio.gather(*stuck)
        problem = check_problem(refused, 503, "too_many_requests")
        assert "server busy" in problem.detail
        assert refused.headers["retry-after"]
        assert [answer.status_code for answer in answers] == [200, 200]


class TestHealth:
    async def test_names_what_is_away(self, client: httpx.AsyncClient) -> None:
        live = await client.get("/health/live", headers={"authorization": ""})
        assert live.json()["status"] == "ok"
        answer = await client.get("/health/ready", headers={"authorization": ""})
        assert answer.status_code == 503
        checks = {check.name: check for check in Health.model_validate_json(answer.content).checks}
        assert checks["database"].ok
        assert not checks["temporal"].ok
        assert "127.0.0.1:1 does not answer" in checks["temporal"].detail
        assert not checks["workers"].ok


class TestProviders:
    async def test_shows_them_and_who_is_stale(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE providers SET updated_at = now() - interval '3m' WHERE id = 'docker'")
            )
        answer = await client.get("/api/v1/providers")
        views = [ProviderView.model_validate(row) for row in answer.json()]
        assert [(view.id, view.status) for view in views] == [
            ("docker", "offline"),
            ("local", "online"),
        ]
        one = await client.get("/api/v1/providers/local")
        assert ProviderView.model_validate_json(one.content) == views[1]
        check_problem(await client.get("/api/v1/providers/nope"), 404, "not_found")

    async def test_an_offline_provider_may_come_back(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE providers SET updated_at = now() - interval '1h', status = 'offline'")
            )
        await submit(client)


class TestDocuments:
    async def test_info_and_schema(self, client: httpx.AsyncClient) -> None:
        info = Info.model_validate_json((await client.get("/api/v1/info")).content)
        assert info.temporal_ui == "http://ui.test"
        answer = await client.get("/api/v1/schemas/job-spec")
        assert answer.json() == json.loads(json.dumps(job_spec_schema()))

    async def test_openapi_is_whole(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/openapi.json")
        document = answer.json()
        refs = _refs(document)
        parts = {
            f"#/components/{kind}/{name}"
            for kind in ("schemas", "headers")
            for name in document["components"][kind]
        }
        assert refs <= parts
        submit_job = document["paths"][JOBS]["post"]
        assert "application/problem+json" in submit_job["responses"]["422"]["content"]
        assert "application/yaml" in submit_job["requestBody"]["content"]

    @pytest.mark.parametrize("page", ["/docs", "/redoc"])
    async def test_docs_need_no_other_server(self, client: httpx.AsyncClient, page: str) -> None:
        html = (await client.get(page)).text
        links = re.findall(r'(?:src|href|url)\s*[=:]\s*["\']([^"\']+)', html)
        assert "/openapi.json" in html
        assert len(links) >= 2
        for link in links:
            assert link.startswith("/"), link
            assert (await client.get(link)).status_code == 200, link


class TestDatabaseAway:
    async def test_says_so_and_recovers(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        job_id = await submit(client)
        paths = [JOBS, f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/logs", "/api/v1/events"]
        kick = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        async with database.transaction() as tx:
            await tx.connection.execute(kick)
        for path in paths * 3:
            answer = await client.get(path)
            if answer.status_code != 200:
                check_problem(answer, 503, "database_unavailable")
        for path in paths:
            assert (await client.get(path)).status_code == 200
        # What writes has connections of its own: the first one finds out for all.
        first = await client.post(JOBS, json=spec())
        if first.status_code != 202:
            check_problem(first, 503, "database_unavailable")
        await submit(client)

    async def test_away_from_the_start(self, settings: Settings) -> None:
        nowhere = settings.database.model_copy(
            update={"url": SecretStr("postgresql://cortex@127.0.0.1:1/cortex")}
        )
        async with client_of(settings.model_copy(update={"database": nowhere})) as client:
            for answer in (
                await client.get(JOBS),
                await client.post(JOBS, json=spec()),
                await client.get("/api/v1/events", headers={"accept": "text/event-stream"}),
            ):
                problem = check_problem(answer, 503, "database_unavailable")
                assert "PostgreSQL does not answer" in problem.detail
                assert answer.headers["retry-after"]
            ready = Health.model_validate_json((await client.get("/health/ready")).content)
            assert not {check.name: check.ok for check in ready.checks}["database"]


def _refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_refs, value.values()))
    if isinstance(value, list):
        return set().union(*map(_refs, value))
    return set()
