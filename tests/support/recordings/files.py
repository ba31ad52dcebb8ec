"""The form of recordings: what was asked, what came back, and how it ended."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Close, Opcode

from simulators.kit.sockets import End

ROOT = Path(__file__).resolve().parents[3].parent / "shared/providers/recordings"

Headers = tuple[tuple[str, str], ...]

_OPCODES = {
    "continuation": Opcode.CONT,
    "text": Opcode.TEXT,
    "binary": Opcode.BINARY,
    "close": Opcode.CLOSE,
    "ping": Opcode.PING,
    "pong": Opcode.PONG,
}


@dataclass(frozen=True)
class Frame:
    """One WebSocket frame, `t` seconds after the handshake was answered."""

    opcode: Opcode
    data: bytes
    fin: bool = True
    t: float = field(default=0.0, compare=False)

    @property
    def close(self) -> Close:
        """What a close frame says."""
        return Close.parse(self.data) if self.data else Close(1005, "")


@dataclass(frozen=True)
class Ending:
    """How a WebSocket's server ended it. `code` is that of its close frame, None if none came."""

    code: int | None
    wire: End
    t: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Request:
    """What was asked; `sends` are the client's frames, `t` is when each was sent."""

    method: str
    path: str
    headers: Headers = ()
    body: bytes | None = None
    upgrade: bool = False
    sends: tuple[Frame, ...] = ()
    pong: bool = True

    @property
    def token(self) -> str:
        """The name of the token, as recordings write it: `<JWT: logs>` is `logs`."""
        text = dict(self.headers).get("Authorization", "")
        return text.removeprefix("Bearer <JWT: ").removesuffix(">") if "<JWT" in text else ""


@dataclass(frozen=True)
class Answer:
    """What came back: a body, or frames and their end."""

    status_line: str
    headers: Headers
    body: bytes | None = None
    frames: tuple[Frame, ...] = ()
    ending: Ending | None = None

    @property
    def status(self) -> int:
        return int(self.status_line.split(" ")[1])

    def header(self, name: str) -> str | None:
        """The value of a header whatever its case; None where there is none."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[0] if values else None

    @property
    def messages(self) -> list[bytes]:
        """Text and binary messages, put together from their fragments."""
        messages: list[bytes] = []
        for frame in self.frames:
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                messages.append(frame.data)
            elif frame.opcode is Opcode.CONT:
                messages[-1] += frame.data
        return messages


@dataclass(frozen=True)
class Recording:
    """One case. `raw` is the file as it is, for what only one network records."""

    case: str
    truth: str
    world: str
    request: Request
    answer: Answer
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    def filled(self, values: Mapping[str, str]) -> "Recording":
        """With other words in place of placeholders such as `<deployment>`, in path and answer."""

        def put(text: str) -> str:
            for name, value in values.items():
                text = text.replace(name, value)
            return text

        answer = self.answer
        if answer.body is not None:
            answer = replace(answer, body=put(answer.body.decode()).encode())
        headers = tuple((name, put(value)) for name, value in answer.headers)
        request = replace(self.request, path=put(self.request.path))
        return replace(self, request=request, answer=replace(answer, headers=headers))

    def ending(self, *, code: int | None = None, wire: End | None = None) -> "Recording":
        """The same with another end, for what was not recorded; without the close frame."""
        old = self.answer.ending
        frames = tuple(frame for frame in self.answer.frames if frame.opcode is not Opcode.CLOSE)
        if code is not None:
            frames += (Frame(Opcode.CLOSE, Close(code, "").serialize(), t=old.t if old else 0),)
        made = Ending(code, wire or End(True, "fin"), old.t if old else 0)
        return replace(self, answer=replace(self.answer, frames=frames, ending=made))


@cache
def load(network: str) -> Mapping[str, Recording]:
    """All recordings of a network by their case; none where the folder is absent."""
    recordings = {}
    for path in sorted((ROOT / network).glob("*.json")):
        raw = json.loads(path.read_text())
        if "response" in raw and "request" in raw:
            recordings[raw["case"]] = read(raw)
    return recordings


def needs(network: str) -> pytest.MarkDecorator:
    """Skips where there are no recordings of the network, and says so."""
    absent = not (ROOT / network).is_dir()
    return pytest.mark.skipif(
        absent, reason=f"no recordings of {network}: ../shared/providers/recordings is not here"
    )


def read(raw: Mapping[str, Any]) -> Recording:
    """A recording from its file's JSON.

    Raises:
        ValueError: it says something that this cannot play.
    """
    asked, given = raw["request"], raw["response"]
    closed = given.get("closed")
    request = Request(
        method=asked["method"],
        path=asked["path"],
        headers=_pairs(asked.get("headers") or ()),
        body=_body(asked.get("body")),
        upgrade=asked.get("upgrade") == "websocket",
        sends=tuple(_frame(frame, "after") for frame in asked.get("client_sends") or ()),
        pong=(asked.get("client") or {}).get("pong", True),
    )
    answer = Answer(
        status_line=given["status_line"],
        headers=_pairs(given["headers"]),
        body=None if "frames" in given else _body(given.get("body")) or b"",
        frames=tuple(_frame(frame, "t") for frame in given.get("frames") or ()),
        ending=_ending(closed) if closed else None,
    )
    return Recording(raw["case"], raw["truth"], raw["world"], request, answer, raw)


def _pairs(items: Any) -> Headers:
    return tuple((str(name), str(value)) for name, value in items)


def _body(value: Any) -> bytes | None:
    """Texts are as they were sent; JSON of any other kind was kept parsed."""
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _frame(written: Mapping[str, Any], at: str) -> Frame:
    opcode = _OPCODES[written["opcode"]]
    if "base64" in written:
        data = base64.b64decode(written["base64"])
    elif "code" in written:
        data = Close(written["code"], written["reason"]).serialize()
    else:
        data = str(written.get("text", "")).encode()
    return Frame(opcode, data, bool(written.get("fin", True)), float(written[at]))


def _ending(closed: Mapping[str, Any]) -> Ending:
    """From the words of a recording: `no close frame; TLS close_notify, then TCP FIN`."""
    frame, _, rest = closed["how"].partition("; ")
    ends = {
        "TLS close_notify, then TCP FIN": End(True, "fin"),
        "then TLS close_notify, then TCP FIN": End(True, "fin"),
    }
    if closed["by"] != "server" or frame not in ("close frame", "no close frame"):
        raise ValueError(f"an end that is not known: {closed}")
    if (frame == "close frame") != (closed["code"] is not None) or rest not in ends:
        raise ValueError(f"an end that is not known: {closed}")
    return Ending(closed["code"], ends[rest], float(closed["t"]))
