"""Receivers of webhooks as real HTTP servers, webhooks for them, and events that happen."""

import ipaddress
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cortex.db.engine import Database
from cortex.db.notify import Notifier
from cortex.db.webhooks.repository import CHANNEL
from cortex.domain.events import EventType
from cortex.domain.ids import new_id
from cortex.domain.rights import Principal, Role
from cortex.domain.webhooks import Delivery, DeliveryState
from cortex.schemas.webhooks import WebhookCreate, WebhookSecret
from cortex.security.keyring import KeyRing
from cortex.services.webhooks.webhooks import Webhooks
from cortex.settings import Settings, WebhookSettings
from cortex.webhooks.addresses import Resolve, Rules, look_up
from cortex.webhooks.deliverer import Deliverer
from cortex.webhooks.fanout import Fanout
from cortex.webhooks.host import WebhookHost
from cortex.webhooks.sending import Sender
from simulators.kit.serve import serving

LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
QUICK = WebhookSettings(
    allowed_networks=(LOOPBACK,),
    timeout=timedelta(seconds=5),
    first_wait=timedelta(milliseconds=20),
    longest_wait=timedelta(milliseconds=40),
)
ADMIN = Principal(name="local", role=Role.ADMIN)
ANN = Principal(name="ann", role=Role.DEVELOPER)


@dataclass(frozen=True)
class Got:
    """A request: its id, whether its signature is good for these secrets, and the envelope."""

    id: str
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        envelope: dict[str, Any] = json.loads(self.body)
        return envelope

    @property
    def note(self) -> Any:
        """What the event was made with (`happen`)."""
        return self.envelope["data"].get("note")

    def verified(self, secret: str) -> None:
        """Raises `WebhookVerificationError` if it was signed with another secret."""
        Verifier(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Keeps what it is sent; `status` says what it answers, `headers` and `text` with what.

    With a `secret` it verifies signatures as they come, and refuses what is `forged`.
    """

    url: str = ""
    tried: list[Got] = field(default_factory=list)
    status: Callable[[Got], int] = lambda got: 204
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    secret: str | None = None
    forged: list[Got] = field(default_factory=list)

    @property
    def taken(self) -> list[Got]:
        return [got for got in self.tried if 200 <= self.status(got) < 300]

    @property
    def notes(self) -> list[Any]:
        return [got.note for got in self.tried]

    async def take(self, request: Request) -> Response:
        headers = dict(request.headers)
        got = Got(headers.get("webhook-id", ""), headers, await request.body())
        if self.secret is not None:
            try:
                got.verified(self.secret)
            except WebhookVerificationError:
                self.forged.append(got)
                return Response(status_code=401)
        self.tried.append(got)
        status = self.status(got)
        return Response(self.text if status != 204 else None, status, self.headers)


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on a port of loopback."""
    receiver = Receiver()
    app = Starlette(routes=[Route("/{rest:path}", receiver.take, methods=["POST", "GET"])])
    async with serving(app, port=port) as url:
        receiver.url = f"{url}/hook"
        yield receiver


async def webhook(
    database: Database, settings: Settings, url: str, by: Principal = ADMIN, **values: Any
) -> WebhookSecret:
    """Make a webhook, as the API does."""
    wanted = WebhookCreate.model_validate({"url": url, **values})
    return await Webhooks(database, settings).create(wanted, by)


async def new_job(
    database: Database,
    owner: str = "ann",
    group: str | None = None,
    *,
    project: str | None = None,
    **labels: str,
) -> str:
    """A job's row; its id."""
    from sqlalchemy import insert

    from cortex.db.tables.jobs import JobRow

    job_id = new_id("job")
    async with database.statement() as tx:
        await tx.connection.execute(
            insert(JobRow).values(
                id=job_id,
                name="x",
                owner=owner,
                project=project or owner,
                spec={},
                state="running",
                labels=labels,
                group_id=group,
            )
        )
    return job_id


async def happen(
    database: Database,
    job_id: str | None,
    *notes: object,
    event_type: EventType = EventType.JOB_PROGRESS,
    subject: str = "",
) -> None:
    """Events of a job, one transaction each."""
    for note in notes:
        async with database.transaction() as tx:
            await tx.events.add(
                event_type, subject or job_id or "", job_id=job_id, data={"note": note}
            )


class Worker:
    """The two halves of a worker, step by step."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        resolve: Resolve = look_up,
        lease: timedelta | None = None,
    ) -> None:
        limits = settings.webhooks
        rules = Rules(limits.allowed_networks, limits.allow_http)
        self.sender = Sender(rules, limits.timeout, resolve=resolve)
        keyring = KeyRing.from_setting(settings.encryption_keys)
        self.deliverer = Deliverer(database, keyring, self.sender, limits, lease=lease)
        notifier = Notifier(database.settings, ())
        self.fanout = Fanout(database, notifier, CHANNEL, lambda: None)

    async def fan_out(self) -> None:
        """Until every event has become deliveries."""
        while True:
            wait = await self.fanout.round()
            if wait is None or wait >= 30:
                return

    async def send(self, times: int = 1) -> None:
        """What is due now, and what has ended by then; so many times."""
        for _ in range(times):
            await self.deliverer.round()
            await self.deliverer.idle()

    async def send_all(self) -> None:
        """Until nothing is due at once any more."""
        while await self.deliverer.round() == 0:
            await self.deliverer.idle()


@asynccontextmanager
async def hosting(
    database: Database, settings: Settings, *, resolve: Resolve = look_up
) -> AsyncIterator[None]:
    """As a worker does it."""
    notifier = Notifier(database.settings, (CHANNEL,))
    await notifier.start()
    host = WebhookHost(database, notifier, settings, resolve=resolve)
    await host.start()
    try:
        yield
    finally:
        await host.aclose()
        await notifier.aclose()


async def deliveries(
    database: Database, webhook_id: str, *states: DeliveryState
) -> Sequence[Delivery]:
    """The oldest first."""
    async with database.reading() as tx:
        there = await tx.deliveries.page(webhook_id, states, before=None, limit=1000)
    return there[::-1]
