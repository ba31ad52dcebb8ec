"""Every request that the client of a commit of before sent is still answered as it expects."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.accepted.then import calls
from tests.api.support import AUTH, serve
from tests.integration.conftest import Stage
from tests.support import eventually, patience

# What cannot be the same here.
_SKIPPED = (
    "/outputs/o/answer",  # the file lay in the data folder of then
    "/schemas/job-spec",  # a document, and of what is taken today
)
_OVER = ("/cancel",)
"""On what has ended by now: then it was taken, and here that is said."""
_FREE_FORM = (
    ".counts",
    ".labels",
    ".config",
    ".json_schema",
    ".schema",
    ".data",
    ".usd_rates",
    ".$defs",
)
"""Mappings with keys of the user's own, or of a document that is another one now."""


def shape_lost(old: object, new: object, where: str = "") -> Iterator[str]:
    """What an old client would miss: a field that is gone, or is of another kind."""
    if where.endswith(_FREE_FORM) or old is None or new is None:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name, value in old.items():
            if name not in new:
                yield f"{where}.{name} is gone"
            else:
                yield from shape_lost(value, new[name], f"{where}.{name}")
    elif isinstance(old, list) and isinstance(new, list):
        for number, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from shape_lost(one, other, f"{where}[{number}]")
    elif {type(old), type(new)} not in ({type(old)}, {int, float}):
        yield f"{where}: {old!r} is now {new!r}"


class Replay:
    """Sends the recorded requests; ids that are made anew take the place of the old ones."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._ids: dict[str, str] = {}

    async def send(self, call: dict[str, Any]) -> list[str]:
        """What is wrong with the answer of today."""
        path, body = (self._today(call[part]) for part in ("path", "body"))
        request = self._client.build_request(
            call["method"], path, content=body or None, headers=call["headers"]
        )
        response = await self._client.send(request, stream=call["type"] == "text/event-stream")
        kind = response.headers.get("content-type", "").partition(";")[0]
        if response.status_code == 409 and path.endswith(_OVER):
            return [] if "has ended" in response.text else [response.text]
        if (response.status_code, kind) != (call["status"], call["type"]):
            text = (await response.aread()).decode()
            return [f"{call['status']} is now {response.status_code} {text}"]
        if call["type"] == "text/event-stream":
            await response.aclose()
            return []
        if not isinstance(call["answer"], dict | list):
            first = call["answer"].partition("\n")[0]
            return [] if response.text.startswith(first) else [f"{first!r} is gone"]
        answer = response.json()
        self._note(call["answer"], answer)
        return [*shape_lost(call["answer"], answer)]

    def _today(self, value: str) -> str:
        for old, new in self._ids.items():
            value = value.replace(old, new)
        return value

    def _note(self, old: Any, new: Any) -> None:
        if isinstance(old, dict) and isinstance(old.get("id"), str) and old["id"] != new.get("id"):
            self._ids[old["id"]] = new["id"]


async def test_every_call_is_answered_as_before(stage: Stage) -> None:
    """On the database of then, where all has happened already: keys give what they gave."""
    recorded = calls()
    assert len({(call["method"], call["path"].partition("?")[0]) for call in recorded}) > 50
    wrong: dict[str, list[str]] = {}
    async with (
        stage.worker(),
        serve(stage.settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers=AUTH, timeout=patience(30)) as client,
    ):
        await eventually(lambda: _ready(client), what="the provider `local`")
        assert (await client.delete("/api/v1/providers/spare")).status_code == 204
        replay = Replay(client)
        for call in recorded:
            if call["path"].endswith(_SKIPPED):
                continue
            lost = await asyncio.wait_for(replay.send(call), patience(60))
            if lost:
                wrong[f"{call['method']} {call['path']}"] = lost
    assert not wrong, "\n".join(f"{call}: {lost}" for call, lost in wrong.items())


async def _ready(client: httpx.AsyncClient) -> bool:
    ready = await client.get("/health/ready")
    answer = (await client.get("/api/v1/providers/local")).json()
    return ready.status_code == 200 and answer.get("status") == "online"


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ({"a": 1}, {"a": 2, "b": 3}, []),
        ({"a": {"b": 1}}, {"a": {}}, [".a.b is gone"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": "1"}]}, [".a[0].b: 1 is now '1'"]),
        ({"a": 1}, {"a": 1.5}, []),
        ({"labels": {"x": "1"}}, {"labels": {}}, []),
    ],
)
def test_what_an_old_client_would_miss_is_seen(old: Any, new: Any, lost: list[str]) -> None:
    assert [*shape_lost(old, new)] == lost
