"""Bad answers: nothing is called gone that may live, and it is said in plain words."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from cortex.domain.leases import LeaseRef
from cortex.domain.states import RunState
from providers.errors import InvalidSpec, OutcomeUnknown, ProviderError, Unavailable
from providers.nosana import NosanaProvider
from simulators.nosana import API_KEY
from tests.providers.nosana.conftest import Sim
from tests.providers.nosana.support import ended, job, new_key
from tests.support import patience
from tests.support.recordings import Recording, playing
from tests.support.recordings.files import read

_HTML = "<!DOCTYPE html><html><body>Sign in</body></html>"
_PAGE = '{"deployments":[{"id":"x","name":"cor'


def answer(status: str, body: str, kind: str = "application/json", **headers: str) -> Recording:
    pairs = {"content-type": kind, "content-length": str(len(body)), **headers}
    return read(
        {
            "case": "made",
            "truth": "",
            "world": "",
            "request": {"method": "GET", "path": "/"},
            "response": {
                "status_line": f"HTTP/1.1 {status}",
                "headers": list(map(list, pairs.items())),
                "body": body,
            },
        }
    )


BAD = {
    "a web page": (answer("200 OK", _HTML, "text/html"), "web page"),
    "a web page for 404": (answer("404 Not Found", _HTML, "text/html"), ""),
    "another 404": (answer("404 Not Found", '{"message":"no Route matched"}'), "no Route matched"),
    "a web page for 502": (answer("502 Bad Gateway", _HTML, "text/html"), "502"),
    "500 for everything": (answer("500 Internal Server Error", '{"error":"boom"}'), "500: boom"),
    "half a body": (answer("200 OK", _PAGE), "damaged"),
    "another form": (answer("200 OK", '{"deployments":7}'), "not understood"),
    "null": (answer("200 OK", "null"), "not understood"),
    "a redirect": (answer("302 Found", "", location="/login"), "302"),
}


@pytest.mark.parametrize("what", BAD)
async def test_every_call_against_every_bad_answer(sim: Sim, what: str) -> None:
    recording, words = BAD[what]
    key = new_key()
    ref = LeaseRef(key=key, network_id="D", data={"market": "M"})
    reserved = LeaseRef(key=key, network_id=f"cortex-{key}", data={"market": "M", "create": "{}"})
    async with playing(recording, tls=False) as player:
        config = sim.config(url=player.url, patience=timedelta(seconds=patience(0.15)))
        provider = NosanaProvider("nosana", config)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "find": lambda: provider.find(key),
            "status": lambda: provider.status(ref),
            "usage": lambda: provider.usage(ref),
            "usage of a reservation": lambda: provider.usage(reserved),
            "owned": provider.owned,
            "quote": lambda: provider.quote(job()),
            "prepare": lambda: provider.prepare(job(), key),
            "cancel": lambda: provider.cancel(ref),
            "cancel of a reservation": lambda: provider.cancel(reserved),
            "forget": lambda: provider.forget(ref),
        }
        for name, call in calls.items():
            with pytest.raises((Unavailable, OutcomeUnknown)) as caught:
                await call()
            assert words in str(caught.value), name
            assert "Nosana" in str(caught.value), name
            assert API_KEY not in str(caught.value), name
        assert not (await provider.network_status()).reachable
        await provider.aclose()


@pytest.mark.parametrize("what", BAD)
async def test_a_creation_with_a_bad_answer(sim: Sim, what: str) -> None:
    """Its effect is not known unless it was refused; nothing is made twice."""
    good = await sim.provider()
    reservation = await good.prepare(job(), new_key())
    empty = {"cursor_next": None, "cursor_prev": None, "total_items": 0}
    nothing = answer("200 OK", json.dumps({"deployments": [], "pagination": empty}))
    async with playing(
        choose=lambda asked: BAD[what][0] if asked.method == "POST" else nothing, tls=False
    ) as player:
        provider = NosanaProvider("nosana", sim.config(url=player.url))
        with pytest.raises(ProviderError) as caught:
            await provider.commit(reservation)
        assert isinstance(caught.value, Unavailable | OutcomeUnknown)
        assert sum(asked.method == "POST" for asked in player.requests) == 1
        await provider.aclose()
    await good.aclose()


async def test_a_refused_definition_says_that_no_field_is_told(sim: Sim) -> None:
    good = await sim.provider()
    reservation = await good.prepare(job(), new_key())
    body = json.loads(reservation.ref.data["create"])
    body["timeout"] = 0
    data = {**reservation.ref.data, "create": json.dumps(body)}
    bad = reservation.model_copy(update={"ref": reservation.ref.model_copy(update={"data": data})})
    with pytest.raises(InvalidSpec, match="Bad Request .*does not say which field"):
        await good.commit(bad)
    await good.aclose()


async def test_a_newer_service_refuses_a_second_one_of_a_key(sim: Sim) -> None:
    """409, as its source has it: the first one is the lease. The key is sent, and unknown fields
    are left out by the version that was recorded.
    """
    good = await sim.provider()
    reservation = await good.prepare(job("exit 3"), new_key())
    first = (await good.commit(reservation)).ref
    assert json.loads(reservation.ref.data["create"])["idempotency_key"].endswith(first.key)
    conflict = answer("409 Conflict", '{"error":"Deployment already exists."}')
    listed = await _listed(sim, first.key)
    looks = iter([json.dumps({**listed, "deployments": []}), *[json.dumps(listed)] * 9])
    jobs = answer("200 OK", await _jobs(sim, first.network_id))

    def choose(asked: Any) -> Recording:
        if asked.method == "POST":
            return conflict
        return jobs if "/jobs" in asked.path else answer("200 OK", next(looks))

    async with playing(choose=choose, tls=False) as player:
        provider = NosanaProvider("nosana", sim.config(url=player.url))
        assert (await provider.commit(reservation)).ref == first
        await provider.aclose()
    await ended(good, first)
    await good.aclose()


async def _listed(sim: Sim, key: str) -> dict[str, Any]:
    deployments: dict[str, Any] = await sim.read(f"/api/deployments?name=cortex-{key}")
    return deployments


async def _jobs(sim: Sim, deployment: str) -> str:
    return json.dumps(await sim.read(f"/api/deployments/{deployment}/jobs"))


@pytest.mark.parametrize("seconds", [-600, 600])
async def test_a_clock_ten_minutes_off(sim: Sim, seconds: int) -> None:
    """The network's times differ from ours; the end and the bill are its own."""
    await sim.skew(seconds)
    provider = await sim.provider()
    ref = (await provider.submit(job("sleep 0.5; exit 3"), new_key())).ref
    end = await ended(provider, ref)
    assert (end.state, end.exit_code) == (RunState.EXITED, 3)
    await provider.cancel(ref)
    usage = await provider.usage(ref)
    (bill,) = await sim.bill(ref.key)
    assert (usage.final, str(usage.cost.amount)) == (True, bill["amount"])
    await provider.forget(ref)
    await sim.skew(0)
    await provider.aclose()
