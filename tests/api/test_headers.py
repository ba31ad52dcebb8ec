"""Headers of every answer, whoever gives it, and web pages of others."""

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from cortex.settings import ApiSettings, DropSettings, Settings
from tests.api.support import JOBS, client_of

PAGE = "https://dash.example.org"


def with_api(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update={"api": settings.api.model_copy(update=values)})


class TestSecurityHeaders:
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            (JOBS, 200),
            ("/api/v1/nothing", 404),
            ("/health/live", 200),
            ("/openapi.json", 200),
            ("/", 307),
            ("/nothing", 404),
            ("/drop/nothing", 404),
            (f"{JOBS}?limit=0", 422),
        ],
    )
    async def test_every_answer_has_them(
        self, settings: Settings, providers: None, path: str, status: int
    ) -> None:
        boxed = settings.model_copy(update={"drop": DropSettings(secret=SecretStr("s" * 32))})
        async with client_of(boxed) as client:
            answer = await client.get(path)
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["content-security-policy"].startswith("default-src 'none';")
        assert answer.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in answer.headers

    async def test_also_who_is_not_let_in(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(JOBS, headers={"authorization": "Bearer wrong"})
        assert answer.status_code == 401
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_each_stands_there_once(self, client: httpx.AsyncClient) -> None:
        for path in (JOBS, "/docs", "/docs/assets/favicon.png"):
            names = [name for name, _ in (await client.get(path)).headers.multi_items()]
            assert len(names) == len(set(names)), path

    async def test_https_only_by_setting_and_where_it_came_by_https(
        self, settings: Settings
    ) -> None:
        strict = ApiSettings(key=settings.api.key, hsts="365d")
        async with client_of(settings.model_copy(update={"api": strict})) as client:
            plain = await client.get("/health/live")
            secure = await client.get("https://127.0.0.1/health/live")
        assert "strict-transport-security" not in plain.headers
        told = secure.headers["strict-transport-security"]
        assert told == "max-age=31536000; includeSubDomains"
        async with client_of(settings) as client:
            secure = await client.get("https://127.0.0.1/health/live")
        assert "strict-transport-security" not in secure.headers


class TestOrigins:
    async def test_none_by_default(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(JOBS, headers={"origin": PAGE})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        answer = await preflight(client, PAGE)
        assert answer.status_code >= 400
        assert not [name for name in answer.headers if name.startswith("access-control-")]

    async def test_one_that_is_named(self, settings: Settings, providers: None) -> None:
        async with client_of(with_api(settings, cors_origins=(PAGE,))) as client:
            answer = await preflight(client, PAGE)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "POST" in answer.headers["access-control-allow-methods"]
            allowed = answer.headers["access-control-allow-headers"].lower()
            assert {"authorization", "idempotency-key"} <= set(allowed.split(", "))
            assert "access-control-allow-credentials" not in answer.headers
            answer = await client.get(JOBS, headers={"origin": PAGE})
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
            assert "Origin" in answer.headers["vary"]
            wrong = await client.get(
                JOBS, headers={"origin": PAGE, "authorization": "Bearer wrong"}
            )
            assert wrong.status_code == 401
            assert wrong.headers["access-control-allow-origin"] == PAGE

    async def test_another_one(self, settings: Settings, providers: None) -> None:
        async with client_of(with_api(settings, cors_origins=(PAGE,))) as client:
            for origin in ("https://evil.example", f"{PAGE}.evil.example", "null"):
                answer = await preflight(client, origin)
                assert answer.status_code == 400
                assert "access-control-allow-origin" not in answer.headers
                answer = await client.get(JOBS, headers={"origin": origin})
                assert "access-control-allow-origin" not in answer.headers

    async def test_all_and_never_with_credentials(
        self, settings: Settings, providers: None
    ) -> None:
        async with client_of(with_api(settings, cors_origins=("*",))) as client:
            for answer in (
                await preflight(client, PAGE),
                await client.get(JOBS, headers={"origin": PAGE, "cookie": "a=b"}),
            ):
                assert answer.status_code == 200
                assert answer.headers["access-control-allow-origin"] == "*"
                assert "access-control-allow-credentials" not in answer.headers

    async def test_without_a_key_other_pages_stay_out(
        self, settings: Settings, providers: None
    ) -> None:
        async with client_of(with_api(settings, key=None, cors_origins=(PAGE,))) as client:
            answer = await client.get(JOBS, headers={"origin": PAGE, "authorization": ""})
        assert answer.status_code == 401

    @pytest.mark.parametrize(
        "origin", [f"{PAGE}/", "dash.example.org", "https://", "HTTPS://a.example", f"{PAGE}\n"]
    )
    def test_what_no_browser_sends_is_refused(self, origin: str) -> None:
        with pytest.raises(ValidationError, match="scheme and host in lower case"):
            ApiSettings(cors_origins=(origin,))


async def preflight(client: httpx.AsyncClient, origin: str) -> httpx.Response:
    """What a browser asks before it sends a request of a page; it sends no key with that."""
    return await client.options(
        JOBS,
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,idempotency-key",
            "authorization": "",
        },
    )
