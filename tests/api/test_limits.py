"""Limits of requests, with a real Redis where it matters."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.app import create_app
from api.limits import Counters
from cortex.domain.rights import Role
from cortex.embedded.config import free_ports
from cortex.settings import ApiKey, Settings
from tests.api.support import AUTH, JOBS, KEY, NOWHERE, check_problem, client_of, serve, submit
from tests.api.test_main import live, start
from tests.support import eventually
from tests.support.redis import RedisServer

INFO = "/api/v1/info"
OTHER = "203.0.113.7"
"""An address that is not this machine's."""


def with_api(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update={"api": settings.api.model_copy(update=values)})


def wrong(number: int = 0, address: str = OTHER) -> dict[str, str]:
    """As a proxy on this machine hands on a request of that address."""
    return {"authorization": f"Bearer wrong-{number}", "x-forwarded-for": address}


@pytest.fixture
async def redis(short_tmp: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(short_tmp / "redis")
    await server.start()
    yield server
    await server.stop()


class TestPrincipals:
    async def test_no_limit_by_default(self, settings: Settings, providers: None) -> None:
        async with client_of(settings) as client:
            for _ in range(70):
                answer = await client.get(INFO)
                assert answer.status_code == 200
        assert "ratelimit" not in answer.headers

    async def test_what_is_left_is_told(self, settings: Settings, providers: None) -> None:
        async with client_of(with_api(settings, requests_per_minute=3)) as client:
            answers = [await client.get(path) for path in (INFO, JOBS, "/api/v1/nothing")]
            refused = await client.get(INFO)
            assert [answer.status_code for answer in answers] == [200, 200, 404]
            for left, answer in zip((2, 1, 0), answers, strict=True):
                assert answer.headers["ratelimit-policy"] == '"requests";q=3;w=60'
                assert re.fullmatch(rf'"requests";r={left};t=[1-6]?\d', answer.headers["ratelimit"])
            problem = check_problem(refused, 429, "rate_limited")
            assert "`local` may send 3 requests a minute" in problem.detail
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert refused.headers["ratelimit"] == (
                f'"requests";r=0;t={refused.headers["retry-after"]}'
            )
            assert refused.headers["ratelimit-policy"] == '"requests";q=3;w=60'
            for _ in range(5):
                assert (await client.get("/health/live")).status_code == 200

    async def test_each_has_an_own_one(self, settings: Settings, providers: None) -> None:
        keys = {"ann": ApiKey(key=SecretStr("key-of-ann-123456"), role=Role.VIEWER)}
        async with client_of(with_api(settings, requests_per_minute=1, keys=keys)) as client:
            ann = {"authorization": "Bearer key-of-ann-123456"}
            assert (await client.get(INFO)).status_code == 200
            assert (await client.get(INFO, headers=ann)).status_code == 200
            assert (await client.get(INFO)).status_code == 429
            assert (await client.get(INFO, headers=ann)).status_code == 429

    async def test_who_is_nobody_yet_is_told_apart_by_address(
        self, settings: Settings, providers: None
    ) -> None:
        jwks = "/api/v1/auth/jwks"
        async with (
            serve(with_api(settings, requests_per_minute=1)) as (url, _),
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            for address in (OTHER, "203.0.113.8"):
                headers = {"x-forwarded-for": address}
                assert (await client.get(jwks, headers=headers)).status_code == 200
                assert (await client.get(jwks, headers=headers)).status_code == 429

    async def test_nothing_is_done_beyond_it(self, settings: Settings, providers: None) -> None:
        async with client_of(with_api(settings, requests_per_minute=2)) as client:
            await submit(client)
            assert (await client.get(INFO)).status_code == 200
            body = {"name": "no", "command": ["true"]}
            check_problem(await client.post(JOBS, json=body), 429, "rate_limited")
        async with client_of(settings) as client:
            assert len((await client.get(JOBS)).json()["items"]) == 1

    async def test_a_stream_counts_once(self, settings: Settings, providers: None) -> None:
        async with (
            serve(with_api(settings, requests_per_minute=3)) as (url, _),
            httpx.AsyncClient(base_url=url, headers=AUTH, trust_env=False) as client,
        ):
            job_id = await submit(client)
            stream = client.stream(
                "GET", f"{JOBS}/{job_id}/events", headers={"accept": "text/event-stream"}
            )
            async with stream as events:
                lines = events.aiter_lines()
                while not (await anext(lines)).startswith("event:"):
                    pass
                answer = await client.get(INFO)
                assert answer.headers["ratelimit"].startswith('"requests";r=0;')

    async def test_a_websocket_counts_once(self, settings: Settings, providers: None) -> None:
        async with serve(with_api(settings, requests_per_minute=1)) as (url, _):
            address = f"{url.replace('http', 'ws', 1)}/api/v1/ws"
            async with connect(address, additional_headers=AUTH) as socket:
                await (await socket.ping())
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(address, additional_headers=AUTH):
                        pass
            assert refused.value.response.status_code == 429
            assert int(refused.value.response.headers["retry-after"]) >= 1

    def test_every_route_says_so_in_the_document(self, settings: Settings) -> None:
        document = create_app(settings).openapi()
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if path.startswith("/api/"):
                    refused = operation["responses"]["429"]
                    assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(
                        refused["headers"]
                    ), path
                    assert "application/problem+json" in refused["content"]


class TestGuesses:
    async def test_beyond_the_limit_nothing_is_looked_up(
        self, settings: Settings, providers: None
    ) -> None:
        async with (
            serve(with_api(settings, failed_keys_per_minute=3)) as (url, _),
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            good = {**AUTH, "x-forwarded-for": OTHER}
            for number in range(3):
                check_problem(
                    await client.get(INFO, headers=wrong(number)), 401, "not_authenticated"
                )
            refused = await client.get(INFO, headers=wrong(4))
            problem = check_problem(refused, 429, "rate_limited")
            assert OTHER in problem.detail
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            # Not even what is right: else it could be guessed on.
            assert (await client.get(INFO, headers=good)).status_code == 429
            # Others, and whoever sends no key, are not concerned.
            other = await client.get(INFO, headers=wrong(5, "203.0.113.8"))
            assert other.status_code == 401
            nobody = await client.get(INFO, headers={"x-forwarded-for": OTHER})
            assert nobody.status_code == 401
            assert (await client.get(INFO, headers=AUTH)).status_code == 200

    async def test_who_was_let_in_before_goes_on(self, settings: Settings, providers: None) -> None:
        async with (
            serve(with_api(settings, failed_keys_per_minute=1)) as (url, _),
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            good = {**AUTH, "x-forwarded-for": OTHER}
            assert (await client.get(INFO, headers=good)).status_code == 200
            assert (await client.get(INFO, headers=wrong())).status_code == 401
            assert (await client.get(INFO, headers=wrong())).status_code == 429
            assert (await client.get(INFO, headers=good)).status_code == 200

    async def test_a_key_is_not_good_where_keys_are_not_looked_at(
        self, settings: Settings, providers: None
    ) -> None:
        """Else whoever guesses would send each key there first."""
        async with (
            serve(with_api(settings, failed_keys_per_minute=1)) as (url, _),
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            for number, status in enumerate((401, 429, 429)):
                keys = await client.get("/api/v1/auth/jwks", headers=wrong(number))
                assert keys.status_code == 200
                assert (await client.get(INFO, headers=wrong(number))).status_code == status

    async def test_nor_over_a_websocket(self, settings: Settings, providers: None) -> None:
        async with serve(with_api(settings, failed_keys_per_minute=2)) as (url, _):
            address = f"{url.replace('http', 'ws', 1)}/api/v1/ws"
            statuses = []
            for number in range(4):
                protocol = f"cortex.bearer.{'abcd'[number] * 8}"
                options: list[dict[str, Any]] = [
                    {"additional_headers": wrong(number)},
                    {
                        "additional_headers": {"x-forwarded-for": OTHER},
                        "subprotocols": ["cortex.v1", protocol],
                    },
                ]
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(address, **options[number % 2]):
                        pass
                statuses.append(refused.value.response.status_code)
                assert refused.value.response.headers["x-content-type-options"] == "nosniff"
            assert statuses == [401, 401, 429, 429]

    async def test_this_machine_is_not_limited(self, settings: Settings, providers: None) -> None:
        async with client_of(with_api(settings, failed_keys_per_minute=1)) as client:
            for number in range(3):
                headers = {"authorization": f"Bearer wrong-{number}"}
                assert (await client.get(INFO, headers=headers)).status_code == 401


class TestRedis:
    async def test_two_processes_share_a_limit(
        self, settings: Settings, providers: None, redis: RedisServer, tmp_path: Path
    ) -> None:
        ports = free_ports(2)
        async with AsyncExitStack() as stack:
            clients = []
            for port in ports:
                process = await start(
                    CORTEX_DATABASE__URL=settings.database.url.get_secret_value(),
                    CORTEX_TEMPORAL__ADDRESS=NOWHERE,
                    CORTEX_API__KEY=KEY,
                    CORTEX_API__PORT=str(port),
                    CORTEX_API__REQUESTS_PER_MINUTE="5",
                    CORTEX_API__FAILED_KEYS_PER_MINUTE="2",
                    CORTEX_API__REDIS_URL=redis.url,
                    CORTEX_DATA_DIR=str(tmp_path),
                )
                stack.push_async_callback(process.wait)
                stack.callback(process.kill)
                client = httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}", headers=AUTH, trust_env=False
                )
                clients.append(await stack.enter_async_context(client))
            await asyncio.gather(*map(live, clients))
            one, two = clients
            answers = [await client.get(INFO) for client in (one, two, one, two, one, two, one)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
            left = [re.findall(r"r=(\d+)", answer.headers["ratelimit"])[0] for answer in answers]
            assert left == ["4", "3", "2", "1", "0", "0", "0"]
            # A process hears of the guesses at others with the first that it sees itself.
            assert (await one.get(INFO, headers=wrong(1))).status_code == 401
            assert (await one.get(INFO, headers=wrong(2))).status_code == 401
            assert (await one.get(INFO, headers=wrong(3))).status_code == 429
            assert (await two.get(INFO, headers=wrong(4))).status_code == 401
            assert (await two.get(INFO, headers=wrong(5))).status_code == 429

    async def test_while_it_is_away_nobody_is_limited(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.limits._REDIS_AGAIN", 0.0)
        counters = Counters(redis.url)
        with structlog.testing.capture_logs() as logs:
            quota = await counters.take(5, "principal", "ann")
            assert quota is not None
            assert quota.remaining == 4
            await redis.stop()
            for _ in range(3):
                assert await counters.take(5, "principal", "ann") is None
            await redis.start()
            assert await counters.take(5, "principal", "ann") is not None
        await counters.aclose()
        assert [entry["event"] for entry in logs] == ["limits.redis_away", "limits.redis_back"]

    async def test_one_that_is_silent_holds_nobody_up(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counters = Counters(redis.url)
        assert await counters.take(5, "a") is not None
        redis.pause(on=True)
        try:
            assert await counters.take(5, "a") is None
            # And for some seconds nobody waits for it again.
            monkeypatch.setattr("api.limits._REDIS_SECONDS", 3600.0)
            assert await counters.take(5, "a") is None
        finally:
            redis.pause(on=False)
        monkeypatch.setattr("api.limits._REDIS_SECONDS", 0.5)

        async def counts() -> bool:
            return await counters.take(5, "a") is not None

        await eventually(counts)
        await counters.aclose()

    async def test_without_limits_nothing_is_loaded(self) -> None:
        code = (
            "import sys, api.app, cortex.settings; "
            "api.app.create_app(cortex.settings.Settings()); "
            "sys.exit(bool({'limits', 'redis'} & set(sys.modules)))"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, cwd=Path(__file__).parents[2]
        )
        assert await process.wait() == 0
