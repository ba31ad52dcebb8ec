"""Answers and lost answers become the errors that workflows decide by."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter

from providers.conformance import eventually
from providers.errors import (
    AuthenticationFailed,
    InsufficientFunds,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    Unavailable,
)
from providers.http import HttpClient, Refused
from simulators.kit.app import make_app
from simulators.kit.clock import Clock
from simulators.kit.runs import Runs
from simulators.kit.serve import serving
from simulators.kit.world import SimBill, SimLease, World


class Counter(World):
    """The smallest network: it counts."""

    name = "counter"
    count = 0

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.post("/count")
        async def add() -> dict[str, int]:
            self.count += 1
            return {"count": self.count}

        @router.get("/count")
        async def read() -> dict[str, int]:
            return {"count": self.count}

        return router

    async def leases(self) -> list[SimLease]:
        return []

    async def bill(self) -> list[SimBill]:
        return []


@pytest.fixture
def world(tmp_path: Any) -> Counter:
    return Counter(tmp_path, Clock(), Runs(tmp_path / "runs"))


@pytest_asyncio.fixture
async def client(world: Counter) -> AsyncIterator[HttpClient]:
    async with serving(make_app(world)) as url:
        made = HttpClient(url, who="the counter", timeout=timedelta(seconds=0.3))
        yield made
        await made.aclose()


async def spoil(client: HttpClient, **rule: Any) -> None:
    await client.raw.put("/_sim/faults", json=[{"match": "* /count", **rule}])


class TestEffects:
    @pytest.mark.parametrize(
        ("fault", "error", "effects"),
        [
            ("error_before", OutcomeUnknown, 0),
            ("error_after", OutcomeUnknown, 1),
            ("drop_before", OutcomeUnknown, 0),
            ("drop_after", OutcomeUnknown, 1),
            ("malformed", OutcomeUnknown, 1),
            ("latency", OutcomeUnknown, 1),
            ("rate_limit", RateLimited, 0),
            ("web_page", OutcomeUnknown, 0),
        ],
    )
    async def test_what_may_have_happened_is_unknown(
        self,
        client: HttpClient,
        world: Counter,
        fault: str,
        error: type[ProviderError],
        effects: int,
    ) -> None:
        await spoil(client, fault=fault, seconds=0.6)
        with pytest.raises(error):
            await client.send("POST", "/count")

        async def took_place() -> bool:
            return world.count == effects

        await eventually(took_place, timeout=5)
        assert await client.send("POST", "/count") == {"count": effects + 1}

    async def test_what_never_left_can_be_sent_again(self) -> None:
        client = HttpClient("http://127.0.0.1:1", who="nobody")
        with pytest.raises(Unavailable, match="nobody cannot be reached"):
            await client.send("POST", "/count")
        await client.aclose()


class TestReads:
    @pytest.mark.parametrize("fault", ["error_before", "drop_after", "malformed", "latency"])
    async def test_a_read_is_simply_unavailable(self, client: HttpClient, fault: str) -> None:
        await spoil(client, fault=fault, seconds=0.6)
        with pytest.raises(Unavailable):
            await client.get("/count")
        assert await client.get("/count") == {"count": 0}

    async def test_an_old_answer_comes_again(self, client: HttpClient, world: Counter) -> None:
        await client.get("/count")
        await client.send("POST", "/count")
        await spoil(client, fault="stale")
        assert await client.get("/count") == {"count": 0}
        assert await client.get("/count") == {"count": 1}


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, AuthenticationFailed),
            (403, AuthenticationFailed),
            (402, InsufficientFunds),
            (404, Refused),
            (422, Refused),
        ],
    )
    async def test_each_status_has_its_error(
        self, client: HttpClient, status: int, error: type[ProviderError]
    ) -> None:
        await spoil(client, fault="error_before", status=status)
        with pytest.raises(error, match="injected fault"):
            await client.send("POST", "/count")

    async def test_the_network_says_how_long_to_wait(self, client: HttpClient) -> None:
        await spoil(client, fault="rate_limit", retry_after=7)
        with pytest.raises(RateLimited) as caught:
            await client.get("/count")
        assert caught.value.retry_after == timedelta(seconds=7)

    def test_messages_are_found_in_the_usual_places(self) -> None:
        client = HttpClient("http://x", who="x")
        for body in (
            {"message": "no luck"},
            {"error": {"code": "c", "message": "no luck"}},
            {"detail": "no luck", "title": "other"},
        ):
            with pytest.raises(Refused, match="x: no luck"):
                client.check(httpx.Response(400, json=body))


class TestWebPages:
    """What somebody on the way says is not the network's word."""

    @staticmethod
    def client(status: int, body: bytes, kind: str = "text/html; charset=utf-8") -> HttpClient:
        answer = httpx.Response(status, content=body, headers={"content-type": kind})
        transport = httpx.MockTransport(lambda _request: answer)
        return HttpClient("http://network", who="the network", transport=transport)

    @pytest.mark.parametrize("status", [200, 401, 403, 404, 502])
    async def test_they_are_no_answer(self, status: int) -> None:
        page = b"<html><head><title> Just &amp; so </title></head><body>secret</body></html>"
        client = self.client(status, page)
        with pytest.raises(
            Unavailable, match="a web page \\(`Just & so`\\) instead of data"
        ) as told:
            await client.get("/jobs/1")
        assert "secret" not in str(told.value)
        with pytest.raises(OutcomeUnknown, match="a web page"):
            await client.send("POST", "/jobs")

    async def test_one_that_does_not_say_that_it_is_one(self) -> None:
        client = self.client(404, b"  <!DOCTYPE HTML><p>gone", "text/plain")
        with pytest.raises(Unavailable, match="answers with 404 and a web page instead of data"):
            await client.get("/jobs/1")

    async def test_a_code_that_is_asked_for_explains_a_5xx(self) -> None:
        client = self.client(502, b'{"code": "no_lease", "message": "none"}', "application/json")
        with pytest.raises(Refused, match="none"):
            await client.call("POST", "/leases", effect=True, codes=["no_lease"])
        with pytest.raises(OutcomeUnknown):
            await client.call("POST", "/leases", effect=True, codes=["other"])
