"""The record of calls: what is kept of them, what never is, and that it stays small."""

import asyncio
from datetime import UTC, datetime

import pytest

from cortex.domain.providers.inspection import CallTally
from providers.calls import CallBook, note, noting, step_noted
from providers.errors import NoCapacity, Unavailable
from providers.http import HttpClient, Refused
from simulators.kit.app import make_app
from simulators.kit.serve import serving
from tests.providers.test_http import Counter, world

__all__ = ["world"]
ID = "0c5d2b1e9f"
TOKEN = "planted-secret-4711"


def kinds(book: CallBook) -> list[tuple[str, str, str, bool]]:
    return [(tally.step, tally.call, tally.outcome, tally.odd) for tally in book.tallies()]


class TestHttp:
    async def test_what_is_noted_of_a_call(self, world: Counter) -> None:
        book = CallBook()
        async with serving(make_app(world)) as url:
            client = HttpClient(url, who="counter", headers={"x-key": TOKEN})
            with noting(book, "commit", ["k1"]):
                await client.get("/count", params={"token": TOKEN})
                await client.get("/count")
                await client.send("POST", "/count", json={"password": TOKEN})
                with pytest.raises(Refused):
                    await client.get(f"/none/{ID}/{TOKEN}")
                with pytest.raises(Refused):
                    await client.send("DELETE", "/count")
            await client.get("/count")  # of no step: it is not kept
            await client.aclose()
        assert kinds(book) == [
            ("commit", "counter GET /count", "200", False),
            ("commit", "counter POST /count", "200", False),
            ("commit", "counter GET /none/*/*", "404", False),
            ("commit", "counter DELETE /count", "405", True),
        ]
        first = book.tallies()[0]
        assert (first.count, first.keys) == (2, ("k1",))
        assert 0 <= first.mean_ms <= first.longest_ms
        assert first.first_at <= first.last_at <= datetime.now(UTC)
        told = repr([tally.model_dump() for tally in book.tallies()])
        assert TOKEN not in told
        assert ID not in told

    async def test_a_call_without_an_answer(self) -> None:
        book = CallBook()
        client = HttpClient("http://127.0.0.1:1", who="nobody")
        with pytest.raises(Unavailable), noting(book, "find", ["k"]):
            await client.get("/count")
        await client.aclose()
        assert kinds(book) == [("find", "nobody GET /count", "ConnectError", True)]


class TestSteps:
    def test_the_end_of_a_step(self) -> None:
        book = CallBook()
        with step_noted(book, "find", ["k"]):
            note("socket", "open shell", "101", 0.2)
        with pytest.raises(NoCapacity), step_noted(book, "find", ["k"]):
            raise NoCapacity("nothing free")
        assert kinds(book) == [
            ("find", "socket open shell", "101", False),
            ("find", "", "ok", False),
            ("find", "", "NoCapacity", True),
        ]
        assert [tally.note for tally in book.tallies()] == ["", "", "nothing free"]

    async def test_each_task_has_its_own(self) -> None:
        book = CallBook()

        async def step(name: str) -> None:
            with noting(book, name, [name]):
                await asyncio.sleep(0)
                note("net", name, "ok")

        await asyncio.gather(step("a"), step("b"))
        note("net", "outside", "ok")
        assert [(tally.step, tally.call) for tally in book.tallies()] == [
            ("a", "net a"),
            ("b", "net b"),
        ]


class TestSelection:
    def test_by_lease_and_time(self) -> None:
        book = CallBook()
        for keys in (["a"], ["b"], [], ["a", "b"], list("abcde")):
            with noting(book, f"about {''.join(keys)}", keys):
                note("net", "x", "ok")
        assert names(book.tallies(keys=["a"])) == ["about a", "about ", "about ab", "about abcde"]
        later = datetime.now(UTC)
        assert book.tallies(after=later) == []
        with noting(book, "about b", ["b"]):
            note("net", "x", "ok")
        assert names(book.tallies(after=later)) == ["about b"]

    def test_it_stays_small(self) -> None:
        book = CallBook()
        for number in range(5000):
            with noting(book, "status", [f"k{number}"]):
                note("net", "x", "ok")
        tallies = book.tallies()
        assert len(tallies) == 1000
        assert tallies[-1].keys == ("k4999",)


def names(tallies: list[CallTally]) -> list[str]:
    return [tally.step for tally in tallies]
