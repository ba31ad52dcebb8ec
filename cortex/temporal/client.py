"""Connecting to Temporal: the same code for the embedded server, a self-hosted one and Cloud."""

from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    RegisterNamespaceRequest,
)
from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from cortex.domain.errors import TemporalUnavailable
from cortex.security.keyring import KeyRing
from cortex.settings import TemporalSettings
from cortex.temporal.boundaries import bounded_calls
from cortex.temporal.codec import data_converter
from cortex.temporal.contracts import SEARCH_ATTRIBUTES

# Short: whoever calls decides about trying again, and an API answer must not wait for minutes.
_RETRY = RetryConfig(max_retries=2, max_elapsed_time_millis=1500)
_RPC_TIMEOUT = timedelta(seconds=10)


async def connect(
    settings: TemporalSettings,
    keyring: KeyRing | None = None,
    *,
    lazy: bool = True,
    runtime: Runtime | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Client:
    """A client; with `lazy` it connects at the first call, so a server that is away is no error.

    Payloads are read with the key ring, and encrypted if the settings say so.

    Raises:
        CortexError: they are to be encrypted, and there is no key.
        TemporalUnavailable: not lazy, and the server does not answer.
    """
    try:
        return await Client.connect(
            settings.address,
            namespace=settings.namespace,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            tls=settings.tls,
            data_converter=data_converter(
                keyring or KeyRing({}), encrypt=settings.encrypt_payloads
            ),
            retry_config=_RETRY,
            lazy=lazy,
            runtime=runtime,
            interceptors=[*interceptors, *bounded_calls()],
        )
    except (RuntimeError, RPCError) as error:
        raise TemporalUnavailable(f"Temporal at {settings.address} does not answer") from error


async def prepare_namespace(client: Client, retention: timedelta) -> None:
    """Make namespace and search attributes unless they exist. Harmless to repeat.

    Raises:
        TemporalUnavailable: the server does not answer.
        RuntimeError: a search attribute exists with another type.
    """
    try:
        await _register_namespace(client, retention)
        await _register_search_attributes(client)
    except RPCError as error:
        if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
            raise TemporalUnavailable(f"Temporal does not answer: {error.message}") from error
        raise


async def delete_run(client: Client, workflow_id: str, run_id: str) -> None:
    """Remove a run that is over, before the namespace's retention does."""
    request = DeleteWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
    )
    await client.workflow_service.delete_workflow_execution(
        request, retry=True, timeout=_RPC_TIMEOUT
    )


async def _register_namespace(client: Client, retention: timedelta) -> None:
    request = RegisterNamespaceRequest(
        namespace=client.namespace,
        description="Jobs of Cortex",
        workflow_execution_retention_period=Duration(seconds=int(retention.total_seconds())),
    )
    try:
        await client.workflow_service.register_namespace(request, timeout=_RPC_TIMEOUT)
    except RPCError as error:
        # On Temporal Cloud namespaces are made outside: what matters is that it exists.
        if error.status not in (RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.PERMISSION_DENIED):
            raise


async def _register_search_attributes(client: Client) -> None:
    wanted = {
        key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
        for key in SEARCH_ATTRIBUTES
    }
    have = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), retry=True, timeout=_RPC_TIMEOUT
    )
    for name, kind in wanted.items():
        if name in have.custom_attributes and have.custom_attributes[name] != kind:
            raise RuntimeError(
                f"search attribute `{name}` of namespace `{client.namespace}` has another type; "
                "remove it (`temporal operator search-attribute remove`) and start again"
            )
    missing = {name: kind for name, kind in wanted.items() if name not in have.custom_attributes}
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing),
            retry=True,
            timeout=_RPC_TIMEOUT,
        )
