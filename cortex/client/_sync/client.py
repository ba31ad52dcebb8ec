"""The blocking client: the same as the asynchronous one, method by method."""
# Made from _async/client.py by `make format`; change that one.

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cortex.client._sync.accounts import AccountCalls
from cortex.client._sync.audit import AuditCalls
from cortex.client._sync.auth import AuthCalls
from cortex.client._sync.events import EventCalls
from cortex.client._sync.filters import FilterCalls
from cortex.client._sync.groups import GroupCalls
from cortex.client._sync.jobs import JobCalls
from cortex.client._sync.money import MoneyCalls
from cortex.client._sync.notices import NoticeCalls
from cortex.client._sync.outputs import OutputCalls
from cortex.client._sync.plugins import PluginCalls
from cortex.client._sync.projects import ProjectCalls
from cortex.client._sync.providers import ProviderCalls
from cortex.client._sync.reconcile import ReconcileCalls
from cortex.client._sync.schedules import ScheduleCalls
from cortex.client._sync.secrets import SecretCalls
from cortex.client._sync.server import ServerCalls
from cortex.client._sync.settings import SettingsCalls
from cortex.client._sync.templates import TemplateCalls
from cortex.client._sync.trace import TraceCalls
from cortex.client._sync.webhooks import WebhookCalls
from cortex.client.connection import resolve
from cortex.client.retry import RetryPolicy
from cortex.client.transport import Transport


class Cortex(
    JobCalls,
    OutputCalls,
    EventCalls,
    GroupCalls,
    ProviderCalls,
    MoneyCalls,
    ReconcileCalls,
    AccountCalls,
    ProjectCalls,
    SettingsCalls,
    AuthCalls,
    SecretCalls,
    TemplateCalls,
    ScheduleCalls,
    FilterCalls,
    NoticeCalls,
    WebhookCalls,
    AuditCalls,
    TraceCalls,
    PluginCalls,
    ServerCalls,
):
    """A Cortex server.

    Every method may raise `ApiError` (the server refused), `ConnectionFailed` (it cannot be
    reached) and `BadAnswer` (something else answered). Requests are repeated by themselves where
    that is safe: after a lost connection, and when the server says 429 or 503.

        with Cortex() as cortex:
            job = cortex.run({"name": "hello", "command": ["echo", "hello"]})
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
        self._transport = Transport(
            self.connection,
            timeout=timeout,
            retry=retry or RetryPolicy(),
            stream_retry=stream_retry or RetryPolicy(attempts=12),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
