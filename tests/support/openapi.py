"""Checks calls and answers against the official OpenAPI file of a network.

    recorder = Recorder(make_app(world))
    async with serving(recorder) as url: ...
    contract = Contract("akash-console-openapi.json")
    assert contract.problems(recorder.exchanges) == []

The files lie in `shared/providers` beside the project; where that folder is absent the test that
asks for one is skipped.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.paths.exceptions import PathNotFound
from werkzeug.datastructures import Headers, ImmutableMultiDict

from simulators.kit.faults import CONTROL, App, Message, Receive, Scope, Send

FOLDER = Path(__file__).parents[2].parent / "shared" / "providers"


@dataclass(frozen=True)
class Exchange:
    """One call with its answer, as they went over the wire."""

    method: str
    path: str
    query: str
    request_headers: Mapping[str, str]
    request_body: bytes
    status: int
    response_headers: Mapping[str, str]
    response_body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


class Recorder:
    """Wraps an app and keeps what goes through it, but for a simulator's control routes."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.exchanges: list[Exchange] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        sent, got = bytearray(), bytearray()
        start: Message = {}

        async def listen() -> Message:
            message = await receive()
            sent.extend(message.get("body", b""))
            return message

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                got.extend(message.get("body", b""))
            await send(message)

        # The fault middleware breaks connections by the transport behind `send`.
        note.__dict__["__self__"] = getattr(send, "__self__", None)
        await self._app(scope, listen, note)
        if start:
            self.exchanges.append(_exchange(scope, bytes(sent), start, bytes(got)))


def _exchange(scope: Scope, sent: bytes, start: Message, got: bytes) -> Exchange:
    return Exchange(
        method=scope["method"],
        path=scope["path"],
        query=scope.get("query_string", b"").decode(),
        request_headers=_headers(scope["headers"]),
        request_body=sent,
        status=start["status"],
        response_headers=_headers(start.get("headers", ())),
        response_body=got,
    )


def _headers(raw: Any) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in raw}


@dataclass
class _Request:
    """What openapi-core wants to know of a request."""

    host_url: str
    path: str
    method: str
    parameters: RequestParameters
    content_type: str
    body: bytes | None


@dataclass
class _Response:
    status_code: int
    content_type: str
    headers: Headers
    data: bytes
    extra: dict[str, Any] = field(default_factory=dict)


class Contract:
    """One official file.

    `prefix` is what the paths of the file are below of, `replace` mends references inside it
    (`{"common.yaml": "golem-common.yaml"}`), `server` stands for the host it names. `amend` changes
    the document where a newer revision is known otherwise.
    """

    def __init__(
        self,
        name: str,
        *,
        prefix: str = "",
        replace: Mapping[str, str] | None = None,
        amend: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        path = FOLDER / name
        if not path.exists():
            pytest.skip(f"the official API file {name} is not beside the project")
        text = path.read_text(encoding="utf-8")
        for old, new in (replace or {}).items():
            text = text.replace(old, new)
        document = json.loads(text) if path.suffix == ".json" else _named(yaml.safe_load(text))
        if amend is not None:
            amend(document)
        document["servers"] = [{"url": "http://network" + prefix}]
        # The files are what they are: Akash declares optional parameters in paths.
        config = Config(spec_validator_cls=None)  # type: ignore[arg-type]
        self._api = OpenAPI.from_dict(document, base_uri=path.as_uri(), config=config)

    def problems(
        self, exchanges: Sequence[Exchange], *, known: Mapping[str, str] | None = None
    ) -> list[str]:
        """What does not agree with the file, one line each; empty when all does.

        `known` names deviations that are documented: `"POST /x 200": "the real one answers 201"`.
        A call to a path that the file does not have is a problem as well.
        """
        problems: list[str] = []
        for exchange in exchanges:
            why = self._problem(exchange)
            if why and not any(str(exchange).startswith(start) for start in known or ()):
                problems.append(f"{exchange}: {why}")
        return sorted(set(problems))

    def _problem(self, exchange: Exchange) -> str | None:
        request = _Request(
            host_url="http://network",
            path=exchange.path,
            method=exchange.method.lower(),
            parameters=RequestParameters(
                query=ImmutableMultiDict(parse_qsl(exchange.query, keep_blank_values=True)),
                header=Headers(dict(exchange.request_headers)),
                cookie=ImmutableMultiDict(),
            ),
            content_type=exchange.request_headers.get("content-type", "").partition(";")[0],
            body=exchange.request_body or None,
        )
        response = _Response(
            status_code=exchange.status,
            content_type=exchange.response_headers.get("content-type", "").partition(";")[0],
            headers=Headers(dict(exchange.response_headers)),
            data=exchange.response_body,
        )
        try:
            if exchange.status < 400:  # what was refused need not have been right
                self._api.validate_request(request)
            self._api.validate_response(request, response)
        except PathNotFound:
            return "the file has no such path"
        except OpenAPIError as error:
            return _words(error)
        return None


def _named(value: Any) -> Any:
    """With names as text: YAML reads the statuses of answers as numbers."""
    if isinstance(value, dict):
        return {str(name): _named(part) for name, part in value.items()}
    return [_named(part) for part in value] if isinstance(value, list) else value


def _words(error: BaseException) -> str:
    cause = error.__cause__
    inner = getattr(cause, "schema_errors", None) or getattr(error, "schema_errors", None)
    if inner:
        return "; ".join(
            f"{'.'.join(map(str, violation.absolute_path)) or 'body'}: {violation.message[:160]}"
            for violation in inner
        )
    return f"{type(error).__name__}: {error} {cause or ''}"[:300]
