"""The adapter meets what the real gateway was recorded saying, and what it makes of each.

Recordings of requests that the adapter never sends are compared with the simulator alone
(`tests/simulators/akash/test_gateway.py`): `NOT_SENT` of `expected.py` says which and why.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from websockets.frames import Opcode

from cortex.domain.leases import PullTrouble
from providers.akash import AkashConfig
from providers.akash.console.client import Console
from providers.akash.console.wire import BidId, LeaseStatus
from providers.akash.deployment.snapshots import Trouble, container_trouble
from providers.akash.gateway.client import Gateway
from providers.akash.market import Market
from providers.errors import ProviderError
from simulators.kit.serve import serving
from simulators.kit.sockets import End
from tests.providers.akash.expected import (
    CLAIMS,
    EVENTS,
    LABEL,
    LOGS,
    NOT_SENT,
    SHELLS,
    STATUSES,
    THREE,
)
from tests.support.recordings import Asked, Frame, Player, Recording, load, needs, playing

pytestmark = needs("akash-gateway")

PROVIDER = "akash1player"
LEASE = BidId(dseq="101", gseq=1, oseq=1, provider=PROVIDER)
_SCALE = 0.02


def test_each_recording_is_met_or_not_sent(record_property: Callable[[str, Any], None]) -> None:
    tables = (LOGS, EVENTS, SHELLS, STATUSES, NOT_SENT)
    named = [case for table in tables for case in table]
    assert sorted(named) == sorted(load("akash-gateway"))
    record_property("met", len(named) - len(NOT_SENT))
    assert (len(named), len(NOT_SENT)) == (103, 31)


@asynccontextmanager
async def talking(player: Player, *, pem: str | None = None) -> AsyncIterator[Gateway]:
    """The adapter's gateway, a Console and a chain that know the player as a provider."""
    app = FastAPI()

    @app.get("/v1/providers")
    async def providers() -> Any:
        row = {"owner": PROVIDER, "name": "player.example.org", "hostUri": player.url}
        return [{**row, "isOnline": True}]

    @app.post("/v1/create-jwt-token")
    async def token() -> Any:
        return {"data": {"token": "token"}}

    @app.get("/akash/cert/v1/certificates/list")
    async def certificates() -> Any:
        cert = base64.b64encode((pem or player.pem).encode()).decode()
        return {"certificates": [{"certificate": {"cert": cert}}]}

    async with serving(app) as url:
        made = AkashConfig.model_validate({"api_key": "k", "console_url": url, "chain_url": url})
        console = Console(made)
        gateway = Gateway(console, made, Market(console, made))
        try:
            yield gateway
        finally:
            await gateway.aclose()
            await console.aclose()


Call = Callable[[Gateway], Any]


async def outcome(gateway: Gateway, call: Call) -> Any:
    """What a call gives, or its error as one text."""
    try:
        return await call(gateway)
    except ProviderError as error:
        return f"{type(error).__name__}: {error}"


async def lines(gateway: Gateway) -> list[str]:
    return [message.text async for message in gateway.logs(LEASE, follow=True)]


async def reasons(gateway: Gateway) -> list[str]:
    return [event["reason"] for event in await gateway.events(LEASE)]


async def shell(gateway: Gateway) -> str:
    done = await gateway.execute(LEASE, "true", (), lambda _data: None)
    return f"exit {done.code}"


class TestMet:
    @pytest.mark.parametrize(("table", "call"), [(LOGS, lines), (EVENTS, reasons), (SHELLS, shell)])
    async def test_each(self, table: dict[str, Any], call: Call) -> None:
        """One after the other on one adapter: none leaves anything behind for the next."""
        recordings = load("akash-gateway")
        outcomes = {}
        first = recordings["logs-finished"]
        async with playing(first, scale=_SCALE) as player, talking(player) as gateway:
            for case in table:
                player.plays(_of_the_job(recordings[case]))
                outcomes[case] = await outcome(gateway, call)
        assert outcomes == table

    @pytest.mark.parametrize("case", STATUSES)
    def test_statuses(self, case: str) -> None:
        body = load("akash-gateway")[case].answer.body
        assert body is not None
        status = LeaseStatus.model_validate_json(body)
        ports = [
            (port.host, port.port, port.external_port)
            for group in (status.forwarded_ports or {}).values()
            for port in group
        ]
        assert (status.ready, ports) == STATUSES[case]


def _of_the_job(recording: Recording) -> Recording:
    """The pod's name as the adapter's jobs have it; as long as before."""
    frames = tuple(
        replace(frame, data=frame.data.replace(b"web-5d4f8c7b9d-abcde", b"job-5d4f8c7b9d-abcde"))
        for frame in recording.answer.frames
    )
    return replace(recording, answer=replace(recording.answer, frames=frames))


class TestEvents:
    async def test_a_wrong_image_is_told_from_its_events(self) -> None:
        recording = _of_the_job(load("akash-gateway")["events-all"])
        async with playing(recording) as player, talking(player) as gateway:
            trouble = container_trouble(await gateway.events(LEASE))
            (asked,) = player.requests
        assert trouble is not None
        assert trouble.unfit
        assert "failed to pull and unpack image: not found" in trouble.text
        assert "service" not in parse_qs(urlsplit(asked.path).query)

    async def test_those_of_other_objects_are_left_out(self) -> None:
        recording = load("akash-gateway")["events-all"]
        async with playing(recording) as player, talking(player) as gateway:
            assert await gateway.events(LEASE) == []  # they are of a service named `web`

    @pytest.mark.parametrize(
        ("note", "why"),
        [
            ("Failed to pull image: manifest unknown", "missing"),
            ("Failed to pull image: dial tcp: i/o timeout", "unpullable"),
        ],
    )
    def test_whose_fault_it_is(self, note: str, why: PullTrouble) -> None:
        """All that registries say: `tests/providers/test_registries.py`."""
        event = {"type": "Warning", "reason": "Failed", "note": note, "object": {}}
        bare = {**event, "note": "Error: ImagePullBackOff"}  # tells no cause, and is newer
        normal = {"type": "Normal", "reason": "BackOff", "note": "Back-off pulling image"}
        assert container_trouble([event, bare, normal]) == Trouble(
            f"the image cannot be pulled there: {note}", why
        )

    def test_a_name_that_is_none(self) -> None:
        note = 'Failed to apply default image tag "A B": couldn\'t parse image name'
        event = {"type": "Warning", "reason": "InspectFailed", "note": note}
        trouble = container_trouble([event])
        assert trouble is not None
        assert trouble.unfit


def proving(
    case: str, *, ends: bool = True, code: int | None = None
) -> Callable[[Asked], Recording]:
    """A recording of a shell as it is where the command that ran was the adapter's: with its marks
    on stderr around what was recorded. Without `code`, the gateway's code is the command's.
    """
    recording = load("akash-gateway")[case]
    *frames, result = recording.answer.frames
    told = json.loads(result.data[1:])["exit_code"]

    def choose(asked: Asked) -> Recording:
        mark = parse_qs(urlsplit(asked.path).query)["cmd4"][0]
        begin = Frame(Opcode.BINARY, f"e{mark} begin\n".encode())
        end = Frame(Opcode.BINARY, f"e\n{mark} end {told if code is None else code}\n".encode())
        around = (begin, *frames, *((end,) if ends else ()), result)
        return replace(recording, answer=replace(recording.answer, frames=around))

    return choose


class TestProof:
    async def test_what_proves_itself_counts(self) -> None:
        taken = bytearray()
        choose = proving("shell-exit-7")
        async with playing(choose=choose, scale=_SCALE) as player, talking(player) as gateway:
            done = await gateway.execute(LEASE, "echo $1", ("word",), taken.extend)
            (asked,) = player.requests
        assert (done.code, done.stderr, bytes(taken)) == (7, "err\n", b"out\n")
        query = parse_qs(urlsplit(asked.path).query, keep_blank_values=True)
        assert [query[name] for name in ("tty", "stdin", "podIndex", "service")] == [
            ["0"],
            ["0"],
            ["0"],
            ["job"],
        ]
        assert query["cmd5"] == ["echo $1"]
        assert query["cmd6"] == ["word"]

    async def test_its_own_word_counts_and_not_the_gateways(self) -> None:
        """The gateway tells 0 of a command that it lost sight of."""
        choose = proving("shell-exit-0", code=5)
        async with playing(choose=choose) as player, talking(player) as gateway:
            assert await outcome(gateway, shell) == "exit 5"

    async def test_one_that_begins_and_does_not_end(self) -> None:
        choose = proving("shell-exit-0", ends=False)
        async with playing(choose=choose) as player, talking(player) as gateway:
            said = await outcome(gateway, shell)
        assert said == f"NotProven: a command in the container broke off at {LABEL}"

    async def test_output_of_100_kb_comes_whole(self) -> None:
        taken = bytearray()
        choose = proving("shell-output-100k")
        async with playing(choose=choose) as player, talking(player) as gateway:
            await gateway.execute(LEASE, "true", (), taken.extend)
        assert bytes(taken) == b"x" * 100_000

    async def test_an_empty_word_is_never_sent(self) -> None:
        async with playing(load("akash-gateway")["shell-exit-0"]) as player:
            async with talking(player) as gateway:
                with pytest.raises(ValueError, match="empty word"):
                    await gateway.execute(LEASE, "cat", ("",), lambda _data: None)
            assert player.requests == []


class TestTrouble:
    """What was not recorded, because the real gateway does not do it: a broken one might."""

    def made(self, *frames: Frame, wire: End | None = None) -> Recording:
        recording = load("akash-gateway")["logs-finished"].ending(wire=wire)
        answer = replace(recording.answer, frames=(*recording.answer.frames[:1], *frames))
        return replace(recording, answer=answer)

    async def said(self, recording: Recording, call: Call = lines) -> Any:
        async with playing(recording) as player, talking(player) as gateway:
            return await outcome(gateway, call)

    @pytest.mark.parametrize("wire", [End(False, "fin"), End(True, "rst"), End(False, "rst")])
    async def test_an_end_of_any_kind_after_the_handshake_is_an_end(self, wire: End) -> None:
        assert await self.said(self.made(wire=wire)) == ["line 1"]

    async def test_a_close_frame_that_comes_anyway(self) -> None:
        recording = load("akash-gateway")["logs-finished"]
        for code in (1000, 1001, 1011):
            assert await self.said(recording.ending(code=code)) == THREE

    async def test_a_message_that_is_never_finished(self) -> None:
        half = Frame(Opcode.TEXT, b'{"name":"job-0","mess', fin=False)
        assert await self.said(self.made(half)) == ["line 1"]

    async def test_a_close_in_the_middle_of_json(self) -> None:
        cut = Frame(Opcode.TEXT, b'{"name":"job-0","mess')
        assert await self.said(self.made(cut)) == (
            "Unavailable: the gateway of " + LABEL + " sent what is no JSON object"
        )

    async def test_text_that_is_no_utf_8(self) -> None:
        bad = Frame(Opcode.TEXT, b'{"name":"job-0","message":"\xff"}')
        said = await self.said(self.made(bad))
        assert said.startswith(
            f"Unavailable: the gateway of {LABEL} does not keep to the protocol: invalid"
        )

    async def test_a_line_of_200_000_bytes(self) -> None:
        line = json.dumps({"name": "job-0", "message": "x" * 200_000}).encode()
        assert await self.said(self.made(Frame(Opcode.TEXT, line))) == ["line 1", "x" * 200_000]

    async def test_a_message_without_end(self) -> None:
        line = Frame(Opcode.TEXT, b"x" * (9 * 2**20))
        said = await self.said(self.made(line))
        assert said == (
            f"Unavailable: the gateway of {LABEL} does not keep to the protocol: "
            "a message that is too long"
        )

    async def test_nobody_there(self) -> None:
        async with playing(load("akash-gateway")["logs-finished"]) as player:
            pass
        async with talking(player) as gateway:
            said = await outcome(gateway, lines)
        assert said == f"Unavailable: {LABEL} does not answer (ConnectionRefusedError)"

    async def test_html_in_place_of_an_answer(self) -> None:
        recording = load("akash-gateway")["auth-none"]
        page = b"<html><body>Bad gateway</body></html>"
        answer = replace(recording.answer, status_line="HTTP/1.1 502 Bad Gateway", body=page)
        said = await self.said(replace(recording, answer=answer))
        assert said == f"Unavailable: {LABEL} answers with 502: {page.decode()}"

    async def test_a_token_that_is_refused_is_made_anew_once(self) -> None:
        """As where a provider's clock is ahead and the token ends early for it."""
        recordings = load("akash-gateway")
        good, bad = recordings["logs-finished"], recordings["auth-status-expired"]
        async with playing(good) as player, talking(player) as gateway:
            assert await lines(gateway) == THREE
            player.plays(bad, good)
            assert await lines(gateway) == THREE
            player.plays(bad)
            before = len(player.requests)
            assert await outcome(gateway, lines) == CLAIMS
            assert len(player.requests) == before + 2
