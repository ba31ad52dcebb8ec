"""The asynchronous client: the same as the blocking one, method by method."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cortex.client._async.accounts import AsyncAccountCalls
from cortex.client._async.audit import AsyncAuditCalls
from cortex.client._async.auth import AsyncAuthCalls
from cortex.client._async.events import AsyncEventCalls
from cortex.client._async.filters import AsyncFilterCalls
from cortex.client._async.groups import AsyncGroupCalls
from cortex.client._async.jobs import AsyncJobCalls
from cortex.client._async.money import AsyncMoneyCalls
from cortex.client._async.notices import AsyncNoticeCalls
from cortex.client._async.outputs import AsyncOutputCalls
from cortex.client._async.plugins import AsyncPluginCalls
from cortex.client._async.projects import AsyncProjectCalls
from cortex.client._async.providers import AsyncProviderCalls
from cortex.client._async.reconcile import AsyncReconcileCalls
from cortex.client._async.schedules import AsyncScheduleCalls
from cortex.client._async.secrets import AsyncSecretCalls
from cortex.client._async.server import AsyncServerCalls
from cortex.client._async.settings import AsyncSettingsCalls
from cortex.client._async.templates import AsyncTemplateCalls
from cortex.client._async.trace import AsyncTraceCalls
from cortex.client._async.webhooks import AsyncWebhookCalls
from cortex.client.connection import resolve
from cortex.client.retry import RetryPolicy
from cortex.client.transport import AsyncTransport


class AsyncCortex(
    AsyncJobCalls,
    AsyncOutputCalls,
    AsyncEventCalls,
    AsyncGroupCalls,
    AsyncProviderCalls,
    AsyncMoneyCalls,
    AsyncReconcileCalls,
    AsyncAccountCalls,
    AsyncProjectCalls,
    AsyncSettingsCalls,
    AsyncAuthCalls,
    AsyncSecretCalls,
    AsyncTemplateCalls,
    AsyncScheduleCalls,
    AsyncFilterCalls,
    AsyncNoticeCalls,
    AsyncWebhookCalls,
    AsyncAuditCalls,
    AsyncTraceCalls,
    AsyncPluginCalls,
    AsyncServerCalls,
):
    """A Cortex server.

    Every method may raise `ApiError` (the server refused), `ConnectionFailed` (it cannot be
    reached) and `BadAnswer` (something else answered). Requests are repeated by themselves where
    that is safe: after a lost connection, and when the server says 429 or 503.

        async with AsyncCortex() as cortex:
            job = await cortex.run({"name": "hello", "command": ["echo", "hello"]})
            print(job.state, job.exit_code, job.cost)
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        data_dir: Path | None = None,
        profile: str | None = None,
        project: str | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        stream_retry: RetryPolicy | None = None,
    ) -> None:
        """Find the server; it is not contacted yet.

        Args:
            base_url: Such as `http://127.0.0.1:8700`; None: the profile's, `CORTEX_URL`, that of
                `CORTEX_PROFILE` or the profile in use, else the stack that `cortex up` runs on
                this machine.
            api_key: None: `CORTEX_API_KEY`, else the login that `cortex login` keeps for this
                server, else the local stack's.
            data_dir: Where to look for the local stack; None: the usual folder.
            profile: Name of a profile (`cortex profile`), in place of a URL.
            project: Where jobs and groups go that are submitted, unless the call says otherwise;
                None: `CORTEX_PROJECT`, the profile's, else one's personal project.
            timeout: Seconds that one answer may take.
            retry: How often to repeat a request.
            stream_retry: How often in a row to reconnect a live stream or a download.

        Raises:
            NotConfigured: nothing says where the server is.
        """
        self.connection = resolve(base_url, api_key, data_dir, profile)
        of_profile = self.connection.profile.project if self.connection.profile else None
        self._project = project or os.environ.get("CORTEX_PROJECT") or of_profile
        self._transport = AsyncTransport(
            self.connection,
            timeout=timeout,
            retry=retry or RetryPolicy(),
            stream_retry=stream_retry or RetryPolicy(attempts=12),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
