"""Which connection gives way to a new one, without sockets and with them."""

import asyncio
import resource
from dataclasses import dataclass, field

import pytest
import structlog

import api.connections
from api.connections import Connections, allow_files, connections_of
from cortex.schemas.server import Problem
from cortex.settings import ApiSettings, Settings
from tests.api.support import JOBS, KEY, serve
from tests.support import patience


@dataclass(eq=False)
class Line:
    """One that remembers how it was ended."""

    name: str
    ended: list[bool] = field(default_factory=list)

    def give_way(self, *, say_why: bool) -> None:
        self.ended.append(say_why)


def entered(connections: Connections, *names: str) -> list[Line]:
    lines = [Line(name) for name in names]
    for line in lines:
        connections.enter(line)
    return lines


class TestWhoGivesWay:
    def test_who_has_owed_a_request_for_the_longest(self) -> None:
        connections = Connections(3)
        first, second, third = entered(connections, "a", "b", "c")
        connections.mark(first, "busy")
        entered(connections, "d")
        assert [line.ended for line in (first, second, third)] == [[], [True], []]
        assert len(connections) == 3

    def test_rather_than_who_waits_for_the_next_one(self) -> None:
        connections = Connections(2)
        idle, owing = entered(connections, "idle", "owing")
        connections.mark(idle, "busy")
        connections.mark(idle, "idle")
        (new,) = entered(connections, "new")
        assert (idle.ended, owing.ended) == ([], [True])
        connections.mark(new, "busy")
        entered(connections, "newer")
        assert idle.ended == [True]

    def test_the_new_one_where_all_others_are_being_answered(self) -> None:
        connections = Connections(2)
        for line in entered(connections, "a", "b"):
            connections.mark(line, "busy")
        (new,) = entered(connections, "new")
        assert new.ended == [True]
        assert len(connections) == 2

    def test_who_was_ended_does_not_come_back(self) -> None:
        connections = Connections(1)
        old, new = entered(connections, "old", "new")
        connections.mark(old, "busy")
        connections.leave(old)
        assert (old.ended, new.ended, len(connections)) == ([True], [], 1)
        connections.leave(new)
        assert len(connections) == 0

    def test_only_some_at_once_are_told_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever is told stays a moment, and has a file open for so long."""
        monkeypatch.setattr(api.connections, "_MOST_PARTING", 1)
        connections = Connections(1)
        first, second, third = entered(connections, "a", "b", "c")
        assert (first.ended, second.ended, third.ended) == ([True], [False], [])


class TestFiles:
    @pytest.fixture(autouse=True)
    def limits(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """Of this process, as if they were these; the last one is what holds."""
        known = [(1024, 4096)]

        def set_limit(_: int, limits: tuple[int, int]) -> None:
            known.append(limits)

        monkeypatch.setattr(resource, "getrlimit", lambda _: known[-1])
        monkeypatch.setattr(resource, "setrlimit", set_limit)
        return known

    def test_as_many_as_the_process_may_have(self, limits: list[tuple[int, int]]) -> None:
        assert allow_files() == 4096
        assert limits[-1] == (4096, 4096)

    def test_where_the_system_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise ValueError("not allowed to raise maximum limit")

        monkeypatch.setattr(resource, "setrlimit", refuse)
        assert allow_files() == 1024

    def test_fewer_connections_than_wished_where_files_are_few(self) -> None:
        with structlog.testing.capture_logs() as logs:
            many = connections_of(ApiSettings(max_connections=3000, max_sockets=3000))
        assert many._most == (4096 - 200) // 2
        (told,) = logs
        assert (told["event"], told["limit"], told["wanted"]) == ("api.few_files", 4096, 6200)
        assert connections_of(ApiSettings())._most == 2000


async def test_slow_ones_give_way_to_whoever_has_something_to_say(
    settings: Settings, providers: None
) -> None:
    few = settings.api.model_copy(update={"max_connections": 16})
    async with serve(settings.model_copy(update={"api": few})) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        head = f"GET {JOBS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
        slow = []
        for _ in range(40):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode())
            slow.append((reader, writer))
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(patience(20)):
            writer.write(head.encode() + b"Connection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            # As many as came after the first sixteen: those that have owed theirs for the longest.
            told = await asyncio.gather(*(each.read() for each, _ in slow[: 41 - 16]))
        assert all(each.startswith(b"HTTP/1.1 503") for each in told)
        assert all(b"retry-after: 2" in each for each in told)
        problems = [Problem.model_validate_json(each.partition(b"\r\n\r\n")[2]) for each in told]
        assert {each.code for each in problems} == {"too_many_requests"}
        assert all("all connections are taken" in each.detail for each in problems)
        for _, each in (*slow, (reader, writer)):
            each.close()
