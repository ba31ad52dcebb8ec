"""Temporal: whether it answers, and whether somebody works on every queue."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    GetSystemInfoRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cortex.doctor.findings import Finding, fault, fine, first_line, unknown, warning
from cortex.domain.errors import CortexError
from cortex.settings import Settings
from cortex.temporal.client import connect
from cortex.temporal.contracts import SEARCH_ATTRIBUTES, TASK_QUEUE, provider_queue

_CALL: Final = timedelta(seconds=5)
_POLLED_WITHIN: Final = timedelta(seconds=75)
"""A poll lasts up to a minute, and Temporal lists pollers for five minutes after their last one."""
_EXPIRES_SOON: Final = timedelta(days=14)
_NAMES: Final = ("namespace", "search attributes", "workers")
_WHERE: Final = "the setting `temporal.address` (CORTEX_TEMPORAL__ADDRESS)"


async def check_temporal(
    settings: Settings, providers: list[str] | None, start: str = "start it"
) -> list[Finding]:
    """Never raises: what cannot be looked at is a finding.

    Args:
        settings: Of the installation.
        providers: Whose queues are to be served; None: not known.
        start: How one starts the server.
    """
    findings = [await _certificate(settings)] if settings.temporal.tls else []
    # The payloads are not looked at: a key ring that is broken has a finding of its own.
    clear = settings.temporal.model_copy(update={"encrypt_payloads": False})
    try:
        async with asyncio.timeout(2 * _CALL.total_seconds()):
            client = await connect(clear, lazy=False)
            info = await client.workflow_service.get_system_info(
                GetSystemInfoRequest(), timeout=_CALL
            )
    except (CortexError, RPCError, RuntimeError, TimeoutError) as error:
        lost = [unknown(name, "without Temporal") for name in _NAMES]
        return [*findings, await _away(settings, error, start), *lost]
    detail = f"server {info.server_version} at {settings.temporal.address}"
    findings.append(fine("temporal", detail))
    try:
        namespace = await _namespace(client)
        findings.append(namespace)
        if namespace.fix:
            return [*findings, *(unknown(name, "without its namespace") for name in _NAMES[1:])]
        findings.append(await _search_attributes(client))
        findings += await _workers(client, providers)
    except RPCError as error:
        fix = "look at the server's log, and at what the API key or certificate may do"
        findings.append(fault("temporal", f"it refused a call: {first_line(error)}", fix))
    return findings


async def _away(settings: Settings, error: BaseException, start: str) -> Finding:
    """Told by how far one gets: no such host, nobody listens, not with these credentials."""
    name, address = "temporal", settings.temporal.address
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as unresolved:
        detail = f"the host of `{address}` is not found: {unresolved.strerror or unresolved}"
        return fault(name, detail, f"correct {_WHERE}, or mend the name server")
    try:
        async with asyncio.timeout(_CALL.total_seconds()):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.close()
    except (OSError, TimeoutError):
        return fault(name, f"nobody listens at {address}", f"{start}, or correct {_WHERE}")
    if isinstance(error, TimeoutError):
        detail = f"{address} does not answer within {2 * _CALL.total_seconds():.0f} s"
        return fault(name, detail, "look at its load, its log and its own database")
    cause = error.__cause__ or error
    tls = "with TLS" if settings.temporal.tls else "without TLS"
    fix = "see whether `temporal.tls` and `temporal.api_key` are as the server wants them"
    return fault(name, f"{address} does not talk to us {tls}: {first_line(cause)}", fix)


async def _certificate(settings: Settings) -> Finding:
    """Of the server, as this machine sees it."""
    name = "temporal certificate"
    host, _, port = settings.temporal.address.rpartition(":")
    try:
        async with asyncio.timeout(_CALL.total_seconds()):
            _, writer = await asyncio.open_connection(
                host, int(port), ssl=ssl.create_default_context(), server_hostname=host
            )
    except ssl.SSLCertVerificationError as error:
        fix = "renew it, or have this machine trust its issuer (SSL_CERT_FILE)"
        return fault(name, error.verify_message, fix)
    except (OSError, TimeoutError) as error:
        return unknown(name, first_line(error))
    certificate: dict[str, Any] = writer.get_extra_info("peercert")
    writer.close()
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    detail = f"valid until {until:%F}"
    if until - datetime.now(UTC) < _EXPIRES_SOON:
        return warning(name, detail, "renew it")
    return fine(name, detail)


async def _namespace(client: Client) -> Finding:
    name = "namespace"
    try:
        answer = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=_CALL
        )
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        fix = "start a worker, which makes it; on Temporal Cloud make it there"
        return fault(name, f"`{client.namespace}` does not exist", fix)
    days = answer.config.workflow_execution_retention_ttl.ToTimedelta().days
    return fine(name, f"`{client.namespace}` keeps closed workflows for {days} days")


async def _search_attributes(client: Client) -> Finding:
    name = "search attributes"
    wanted = {key.name: int(key.indexed_value_type) for key in SEARCH_ATTRIBUTES}
    try:
        have = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=_CALL
        )
    except RPCError as error:
        if error.status != RPCStatusCode.PERMISSION_DENIED:
            raise
        return unknown(name, "this API key may not list them")
    missing = [key for key in wanted if key not in have.custom_attributes]
    if missing:
        fix = "start a worker, which makes them; or `temporal operator search-attribute create`"
        return fault(name, f"missing: {', '.join(missing)}", fix)
    others = [
        f"{key} (is {IndexedValueType.Name(have.custom_attributes[key])})"
        for key, kind in wanted.items()
        if have.custom_attributes[key] != kind
    ]
    if others:
        fix = "`temporal operator search-attribute remove`, then start a worker"
        return fault(name, f"of another type: {', '.join(others)}", fix)
    return fine(name, f"all {len(wanted)} of them")


async def _workers(client: Client, providers: list[str] | None) -> list[Finding]:
    workflows, activities = (
        TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    polling = await _pollers(client, TASK_QUEUE, workflows)
    if not polling:
        fix = "start one: `cortex worker`; jobs wait until then"
        return [fault("workers", f"nobody polls the task queue `{TASK_QUEUE}`", fix)]
    findings = [fine("workers", f"{len(polling)} poll the task queue `{TASK_QUEUE}`")]
    for provider in providers or []:
        queue = provider_queue(provider)
        if not await _pollers(client, queue, activities):
            fix = f"run a worker whose `worker.queues` has `{queue}` (all, by default)"
            findings.append(fault("workers", f"nobody polls the task queue `{queue}`", fix))
    return findings


async def _pollers(client: Client, queue: str, kind: TaskQueueType.ValueType) -> set[str]:
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        ),
        timeout=_CALL,
    )
    oldest = datetime.now(UTC) - _POLLED_WITHIN
    return {
        poller.identity
        for poller in answer.pollers
        if poller.last_access_time.ToDatetime(tzinfo=UTC) > oldest
    }
