"""A Temporal that is away, is something else, or lacks what jobs need."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio import activity, workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from cortex.doctor import temporal as doctor
from cortex.doctor.findings import Finding, Verdict
from cortex.doctor.temporal import check_temporal
from cortex.settings import Settings, TemporalSettings
from cortex.temporal.client import connect, prepare_namespace
from cortex.temporal.contracts import TASK_QUEUE, provider_queue
from tests.support import eventually


@activity.defn
async def nothing() -> None: ...


@workflow.defn(sandboxed=False)
class Idle:
    @workflow.run
    async def run(self) -> None: ...


def named(findings: Sequence[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


async def look(
    address: str,
    namespace: str = "cortex",
    providers: list[str] | None = None,
    *,
    tls: bool = False,
) -> list[Finding]:
    there = TemporalSettings(address=address, namespace=namespace, tls=tls)
    return await check_temporal(Settings(temporal=there), providers)


@asynccontextmanager
async def deaf_server() -> AsyncIterator[str]:
    """Something that listens, and is no Temporal: it ends each connection."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_nobody_listens() -> None:
    findings = await look("127.0.0.1:1")
    found = named(findings, "temporal")
    assert (found.verdict, found.detail) == (Verdict.FAULT, "nobody listens at 127.0.0.1:1")
    assert "temporal.address" in found.fix
    assert named(findings, "workers").verdict == Verdict.UNKNOWN


async def test_no_such_host() -> None:
    found = named(await look("no-such-host.invalid:7233"), "temporal")
    assert (found.verdict, "is not found" in found.detail) == (Verdict.FAULT, True)
    assert "name server" in found.fix


async def test_something_else_listens() -> None:
    async with deaf_server() as address:
        found = named(await look(address), "temporal")
    assert (found.verdict, "without TLS" in found.detail) == (Verdict.FAULT, True)


async def test_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CALL", timedelta(seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        found = named(await look(address), "temporal")
    assert (found.verdict, "does not answer within" in found.detail) == (Verdict.FAULT, True)


async def test_tls_where_the_server_has_none(temporal: Client) -> None:
    findings = await look(temporal.service_client.config.target_host, tls=True)
    found = named(findings, "temporal")
    assert (found.verdict, "with TLS" in found.detail) == (Verdict.FAULT, True)
    assert named(findings, "temporal certificate").verdict == Verdict.UNKNOWN


async def test_no_such_namespace(temporal: Client) -> None:
    findings = await look(temporal.service_client.config.target_host, "nowhere")
    found = named(findings, "namespace")
    assert (found.verdict, found.detail) == (Verdict.FAULT, "`nowhere` does not exist")
    assert named(findings, "temporal").verdict == Verdict.OK
    assert named(findings, "workers").verdict == Verdict.UNKNOWN


async def namespace_of_its_own(temporal: Client, *, whole: bool = True) -> Client:
    """Known to the server everywhere; if `whole`, with everything that jobs need."""
    settings = TemporalSettings(
        address=temporal.service_client.config.target_host, namespace=f"d-{uuid.uuid4().hex[:8]}"
    )
    client = await connect(settings, lazy=False)
    if not whole:
        await temporal.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=client.namespace,
                workflow_execution_retention_period=Duration(seconds=86400),
            )
        )

    async def known() -> bool:
        try:
            if whole:
                await prepare_namespace(client, timedelta(days=2))
            await client.count_workflows()
        except RPCError:  # it takes the server a moment to know it everywhere
            return False
        return True

    await eventually(known, what="the namespace")
    return client


@pytest.fixture(scope="module")
async def namespace(temporal: Client) -> Client:
    return await namespace_of_its_own(temporal)


async def test_search_attributes(temporal: Client, namespace: Client) -> None:
    address = temporal.service_client.config.target_host
    assert (
        named(await look(address, namespace.namespace), "search attributes").detail
        == "all 5 of them"
    )
    bare = (await namespace_of_its_own(temporal, whole=False)).namespace
    found = named(await look(address, bare), "search attributes")
    assert (found.verdict, "missing: CortexProvider" in found.detail) == (Verdict.FAULT, True)
    wrong = AddSearchAttributesRequest(
        namespace=bare,
        search_attributes={
            "CortexLabels": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
            "CortexProvider": IndexedValueType.INDEXED_VALUE_TYPE_INT,
            **{
                f"Cortex{name}": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
                for name in ("Status", "User", "Group")
            },
        },
    )
    await temporal.operator_service.add_search_attributes(wrong)
    found = named(await look(address, bare), "search attributes")
    assert found.verdict == Verdict.FAULT
    assert "CortexProvider (is INDEXED_VALUE_TYPE_INT)" in found.detail


async def test_who_works_on_the_queues(temporal: Client, namespace: Client) -> None:
    address = temporal.service_client.config.target_host
    workers = [finding for finding in await look(address, namespace.namespace, ["a", "b"])][-1]
    assert (workers.verdict, "cortex worker" in workers.fix) == (Verdict.FAULT, True)
    async with (
        Worker(namespace, task_queue=TASK_QUEUE, workflows=[Idle]),
        Worker(namespace, task_queue=provider_queue("a"), activities=[nothing]),
    ):

        async def polled() -> bool:
            findings = await look(address, namespace.namespace, ["a"])
            return all(finding.verdict == Verdict.OK for finding in findings)

        await eventually(polled, what="workers that poll")
        *_, last = await look(address, namespace.namespace, ["a", "b"])
    assert (last.verdict, "`provider.b`" in last.detail) == (Verdict.FAULT, True)
