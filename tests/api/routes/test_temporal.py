"""The codec endpoint, as Temporal's own tools use it."""

import asyncio
import base64
import json
import uuid
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from cortex.temporal.client import connect
from tests.api.support import KEY, check_problem, client_of, serve
from tests.support import temporal_program

CODEC = "/api/v1/temporal/codec"
CLEAR = {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": "ImEi"}
UI = "http://ui.test"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    temporal = settings.temporal.model_copy(update={"encrypt_payloads": True})
    api = settings.api.model_copy(update={"cors_origins": (UI,)})
    return settings.model_copy(update={"temporal": temporal, "api": api})


async def ask(client: httpx.AsyncClient, verb: str, *payloads: Any) -> list[Any]:
    answer = await client.post(f"{CODEC}/{verb}", json={"payloads": payloads})
    assert answer.status_code == 200, answer.text
    told: list[Any] = answer.json()["payloads"]
    return told


class TestProtocol:
    async def test_there_and_back(self, client: httpx.AsyncClient) -> None:
        (sealed,) = await ask(client, "encode", CLEAR)
        assert base64.b64decode(sealed["metadata"]["encoding"]) == b"binary/encrypted"
        assert base64.b64decode(sealed["metadata"]["encryption-key-id"]) == b"k1"
        assert await ask(client, "decode", sealed, CLEAR) == [CLEAR, CLEAR]
        assert await ask(client, "decode") == []

    async def test_what_cannot_be_opened_comes_back(self, client: httpx.AsyncClient) -> None:
        (sealed,) = await ask(client, "encode", CLEAR)
        broken = {**sealed, "data": "AAAA"}
        assert await ask(client, "decode", broken, sealed) == [broken, CLEAR]

    async def test_other_fields_are_theirs(self, client: httpx.AsyncClient) -> None:
        assert await ask(client, "decode", {**CLEAR, "externalPayloads": []}) == [CLEAR]

    @pytest.mark.parametrize("payload", [{"data": "!"}, {"metadata": {"a": "!"}}, {"data": 3}])
    async def test_what_is_no_payload(
        self, client: httpx.AsyncClient, payload: dict[str, Any]
    ) -> None:
        answer = await client.post(f"{CODEC}/decode", json={"payloads": [payload]})
        check_problem(answer, 422, "invalid_request")

    async def test_without_encryption_nothing_is_encoded(
        self, settings: Settings, client: httpx.AsyncClient
    ) -> None:
        (sealed,) = await ask(client, "encode", CLEAR)
        off = settings.temporal.model_copy(update={"encrypt_payloads": False})
        async with client_of(settings.model_copy(update={"temporal": off})) as other:
            assert await ask(other, "encode", CLEAR) == [CLEAR]
            assert await ask(other, "decode", sealed) == [CLEAR]

    async def test_a_page_of_the_web_ui(self, client: httpx.AsyncClient) -> None:
        head = {
            "origin": UI,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-namespace",
        }
        answer = await client.options(f"{CODEC}/decode", headers=head)
        assert answer.status_code == 200, answer.text
        assert answer.headers["access-control-allow-origin"] == UI
        head = {"origin": UI, "x-namespace": "cortex"}
        answer = await client.post(f"{CODEC}/decode", json={"payloads": [CLEAR]}, headers=head)
        assert answer.headers["access-control-allow-origin"] == UI
        answer = await client.options(
            f"{CODEC}/decode",
            headers={**head, "access-control-request-method": "POST"}
            | {"origin": "http://elsewhere.test"},
        )
        assert answer.status_code == 400


async def test_the_command_of_temporal(settings: Settings, temporal: Client) -> None:
    address = temporal.service_client.config.target_host
    at = settings.temporal.model_copy(update={"address": address, "namespace": temporal.namespace})
    client = await connect(at, KeyRing.from_setting(settings.encryption_keys), lazy=False)
    workflow_id = f"codec-{uuid.uuid4().hex[:8]}"
    await client.start_workflow("Nobody", "hush-4711", id=workflow_id, task_queue=workflow_id)
    async with serve(settings) as (url, _):
        shown = [
            await _show(address, workflow_id, temporal.namespace, *options)
            for options in (
                (),
                ("--codec-endpoint", f"{url}{CODEC}", "--codec-auth", f"Bearer {KEY}"),
            )
        ]
    await client.get_workflow_handle(workflow_id).terminate()
    assert "hush" not in json.dumps(shown[0])
    inputs = [
        event["workflowExecutionStartedEventAttributes"]["input"]
        for history in shown
        for event in history["events"][:1]
    ]
    encodings = [_decoded(given["payloads"][0]["metadata"]["encoding"]) for given in inputs]
    assert encodings == ["binary/encrypted", "json/plain"]
    assert _decoded(inputs[1]["payloads"][0]["data"]) == '"hush-4711"'


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


async def _show(address: str, workflow_id: str, namespace: str, *options: str) -> Any:
    words = ("workflow", "show", "--workflow-id", workflow_id, "--output", "json")
    where = ("--address", address, "--namespace", namespace)
    program = await asyncio.create_subprocess_exec(
        temporal_program("temporal"),
        *(*words, *where, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await program.communicate()
    assert program.returncode == 0, errors.decode()
    return json.loads(out)
