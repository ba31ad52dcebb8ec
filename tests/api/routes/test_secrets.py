"""With which keys secrets are encrypted: shown, and rotated by the workers."""

import httpx

from tests.api.support import check_problem, submit

ROTATION = "/api/v1/secrets/rotation"


async def test_what_is_under_which_key(client: httpx.AsyncClient) -> None:
    shown = (await client.get(ROTATION)).json()
    assert shown == {"newest": "k1", "keys": ["k1"], "sealed": [], "left": 0, "lost": 0}
    await submit(client, secret_env={"TOKEN": "t0p-secret"})
    shown = (await client.get(ROTATION)).json()
    assert shown["sealed"] == [{"what": "jobs", "key": "k1", "count": 1, "readable": True}]


async def test_without_temporal_it_says_when_it_is_done(client: httpx.AsyncClient) -> None:
    problem = check_problem(await client.post(ROTATION), 503, "temporal_unavailable")
    assert "they do it by themselves within an hour" in problem.detail
    entries = (await client.get("/api/v1/audit?action=secrets.rotate")).json()["items"]
    assert [entry["subject"] for entry in entries] == ["k1"]
