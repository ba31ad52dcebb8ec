"""Signatures of Dispersed: the vectors of the published algorithm, and what must not matter."""

import hashlib
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.render.signing import Keys, Signer, canonical_body, canonical_query, signature

KEYS = Keys("pk_test_0001", b"sk_test_0001")
STAMP, NONCE = "1795430400000", "00112233445566778899aabbccddeeff"
BODY: dict[str, Any] = {
    "gpu_count": 1,
    "max_timeout_run_ms": 600000,
    "parameters": {"parameters": {"image": "library/alpine", "tag": "3.20"}, "type": "docker"},
    "task": "BATCH",
    "title": "cortex-demo",
}


class TestVectors:
    def test_post(self) -> None:
        body = canonical_body(BODY)
        digest = "4421ccc4bd2b2ad934a29cf6af250073a48bbf74d243bd24ad5c8fa5241d1a8f"
        assert hashlib.sha256(body).hexdigest() == digest
        made = signature(KEYS, stamp=STAMP, nonce=NONCE, request=("POST", "/v1/jobs", "", body))
        assert made == "678e6f2cfb65b259c067aacc27abe129092e42d97de94bb564f1ed10bdfc9738"

    def test_get(self) -> None:
        query = canonical_query(
            {"limit": "10", "filter[job_uuid]": "11111111-2222-3333-4444-555555555555"}
        )
        assert query == "filter%5Bjob_uuid%5D=11111111-2222-3333-4444-555555555555&limit=10"
        request = ("GET", "/v1/job-runs", query, canonical_body(None))
        made = signature(KEYS, stamp=STAMP, nonce=NONCE, request=request)
        assert made == "a3bcadc5eafd901f0b82bfeb7b14e2c8e60de3bf814dbd15b2e4d8e980d8ed2c"


class TestBlanks:
    def test_they_are_pluses_as_in_the_networks_own_client(self) -> None:
        query = canonical_query({"filter[gpu_name]": ["RTX 4090", "RTX 3090"], "a": "b+c~*/ü"})
        assert query == (
            "a=b%2Bc~%2A%2F%C3%BC&filter%5Bgpu_name%5D=RTX+3090&filter%5Bgpu_name%5D=RTX+4090"
        )

    async def test_what_is_signed_is_what_is_sent(self) -> None:
        sent: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return httpx.Response(200, json={})

        transport = httpx.MockTransport(answer)
        query = canonical_query({"filter[gpu_name]": "RTX 4090"})
        async with httpx.AsyncClient(
            base_url="http://network", auth=Signer(KEYS), transport=transport
        ) as http:
            await http.get(f"/v1/compute/offers?{query}")
        (request,) = sent
        assert request.url.query == b"filter%5Bgpu_name%5D=RTX+4090"
        head = request.headers
        made = signature(
            KEYS,
            stamp=head["x-time"],
            nonce=head["x-nonce"],
            request=("GET", "/v1/compute/offers", query, b""),
        )
        assert made == head["x-signature"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def reordered(value: Any) -> Any:
    """The same value with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [reordered(element) for element in value]
    return value


class TestCanonical:
    @given(st.dictionaries(st.text(max_size=6), _JSON, max_size=5))
    def test_the_order_of_keys_does_not_matter(self, value: dict[str, Any]) -> None:
        body = canonical_body(value)
        assert body == canonical_body(reordered(value))
        assert body.isascii()
        assert json.loads(body) == value

    @given(st.dictionaries(st.text(min_size=1, max_size=6), st.text(max_size=6), max_size=5))
    def test_nor_that_of_parameters(self, params: dict[str, str]) -> None:
        query = canonical_query(params)
        assert query == canonical_query(dict(reversed(params.items())))
        assert query.isascii()
        assert not set(query) & set(" [],")

    def test_repeated_parameters_are_sorted(self) -> None:
        assert canonical_query({"b": ["2", "1"], "a": "x y"}) == "a=x+y&b=1&b=2"


class TestSigner:
    async def test_each_try_has_a_nonce_of_its_own(self) -> None:
        seen: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(200, json={})

        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, auth=Signer(KEYS)) as client:
            for _ in range(2):
                await client.post("http://x/v1/jobs", content=canonical_body(BODY))
        nonces = [request.headers["x-nonce"] for request in seen]
        assert len(set(nonces)) == 2
        assert all(len(nonce) == 32 for nonce in nonces)

    @pytest.mark.parametrize("ahead", [-3600, 3600])
    async def test_learns_the_time_of_the_server(self, ahead: int) -> None:
        stamps: list[int] = []
        server = 1_795_430_400

        def answer(request: httpx.Request) -> httpx.Response:
            stamps.append(int(request.headers["x-time"]) // 1000)
            good = abs(stamps[-1] - server) < 300
            headers = {"date": "Mon, 23 Nov 2026 10:40:00 GMT"}
            return httpx.Response(200 if good else 401, headers=headers)

        signer = Signer(KEYS, now=lambda: float(server + ahead))
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), auth=signer) as client:
            assert (await client.get("http://x/")).status_code == 200
            assert (await client.get("http://x/")).status_code == 200
        assert len(stamps) == 3
        assert abs(stamps[1] - server) < 5

    def test_the_secret_is_not_shown(self) -> None:
        assert "sk_test" not in repr(KEYS)
