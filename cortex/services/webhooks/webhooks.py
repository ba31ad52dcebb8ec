"""Webhooks: made, changed, shown, taken away. They are somebody's own, or belong to a project."""

from datetime import UTC, datetime
from typing import Any

from cortex.db.engine import Database, Reading, Transaction
from cortex.db.projects import no_project
from cortex.db.webhooks.repository import NewWebhook, StoredWebhook, no_webhook
from cortex.domain.audit import changed_values
from cortex.domain.errors import Conflict, FieldError, Forbidden, InvalidRequest
from cortex.domain.ids import new_id
from cortex.domain.rights import POLICY, Action, Principal, Reach, Role
from cortex.domain.webhooks import MOST_PER_OWNER, JobFilter, Webhook
from cortex.schemas.webhooks import (
    MOST_HEADERS,
    RotateSecret,
    WebhookCreate,
    WebhookPage,
    WebhookSecret,
    WebhookUpdate,
)
from cortex.security.keyring import KeyRing
from cortex.services.webhooks.vouching import as_of_now
from cortex.settings import Settings
from cortex.webhooks.addresses import Refused, Rules, check_url
from cortex.webhooks.secrets import WebhookSecrets
from cortex.webhooks.signing import new_secret


class Webhooks:
    """Changes and shows webhooks."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._keyring = KeyRing.from_setting(settings.encryption_keys)
        limits = settings.webhooks
        self._rules = Rules(limits.allowed_networks, limits.allow_http)

    async def all(
        self, projects: frozenset[str] | None, owner: str | None, by: Principal
    ) -> WebhookPage:
        """The webhooks of these projects, personal ones too (None: of all); those of an owner.

        Raises:
            Forbidden: the owner is somebody else, and `by` does not reach everything.
        """
        if owner not in (None, by.name):
            by.require(Action.WEBHOOKS_READ, owner=owner)
        async with self._database.reading() as tx:
            return WebhookPage(items=tuple(await tx.webhooks.all(owner, projects)))

    async def get(self, webhook_id: str, by: Principal) -> Webhook:
        """One webhook.

        Raises:
            NotFound: there is none with this id, or `by` may not see it.
        """
        async with self._database.reading() as tx:
            return (await seen(tx, webhook_id, by)).shown

    async def create(
        self, wanted: WebhookCreate, by: Principal, project: str | None = None
    ) -> WebhookSecret:
        """Make a webhook that gets what happens from now on, in a project or to `by`.

        Raises:
            InvalidRequest: the URL may not be used.
            NotFound: there is no such project, or none that `by` may know of.
            Forbidden: `by` may have none there, or not see jobs, so that a webhook would show more.
            Conflict: there are too many.
            ServiceUnavailable: no encryption key is configured.
        """
        project = project or by.home
        _require_place(project, by)
        self._check(wanted.url)
        webhook_id = new_id("whk")
        headers = {name: value.get_secret_value() for name, value in wanted.headers.items()}
        secrets = WebhookSecrets(new_secret(), headers=headers)
        sealed = secrets.sealed(self._keyring, webhook_id)
        shared = project != by.name
        async with self._database.transaction() as tx:
            by = await as_of_now(tx, by, project if shared else None)
            _require_place(project, by)
            if await tx.webhooks.lock_owner(by.name) >= MOST_PER_OWNER:
                raise Conflict(f"`{by.name}` has {MOST_PER_OWNER} webhooks, and may have no more")
            made = NewWebhook(
                id=webhook_id,
                owner=by.name,
                project=project,
                # Of one of a project it says nothing; earlier versions went by it all the same.
                reach=Reach.OWN if shared else webhook_reach(by.role) or Reach.OWN,
                description=wanted.description or "",
                url=wanted.url,
                sealed=sealed,
                headers=sorted(headers),
                events=wanted.events,
                jobs=wanted.jobs.filter(),
                enabled=wanted.enabled,
            )
            await tx.webhooks.add(made, await tx.events.latest())
            shown = (await tx.webhooks.get(webhook_id)).shown
            await tx.audit.add(by, "webhook.create", webhook_id, before={}, after=_audited(shown))
        return WebhookSecret(secret=secrets.secret, info=shown)

    async def update(self, webhook_id: str, change: WebhookUpdate, by: Principal) -> Webhook:
        """Change a webhook; what waits for it is sent as it is then.

        Raises:
            NotFound: there is none with this id, or `by` may not see it.
            InvalidRequest: the URL may not be used, or headers would go to another host.
            Forbidden: it gets a URL or is enabled, and `by` may not see the jobs it is told of.
        """
        vouches = change.url is not None or bool(change.enabled)
        if change.url is not None:
            self._check(change.url)
        async with self._database.transaction() as tx:
            if vouches:
                by = await _vouching(tx, webhook_id, by)
            stored = await locked(tx, webhook_id, by)
            old = stored.shown
            url = old.url if change.url is None else change.url
            headers = dict(change.headers or {})
            _check_headers(old, url, set(headers))
            await tx.webhooks.change(
                webhook_id,
                description=old.description if change.description is None else change.description,
                url=url,
                events=change.events or old.events,
                jobs=old.jobs if change.jobs is None else change.jobs.filter(),
                enabled=old.enabled if change.enabled is None else change.enabled,
                vouched_by=by.name if vouches else None,
            )
            given = {
                name: None if value is None else value.get_secret_value()
                for name, value in headers.items()
            }
            if given:
                await self._put_headers(tx, stored, given)
            if change.skip_missed:
                await tx.webhooks.jump(webhook_id, await tx.events.latest())
            new = (await tx.webhooks.get(webhook_id)).shown
            before, after = changed_values(_audited(old), _audited(new))
            if given:
                after["headers_set"] = sorted(name for name, value in given.items() if value)
            if change.skip_missed:
                after["skip_missed"] = True
            if after:
                await tx.audit.add(by, "webhook.update", webhook_id, before=before, after=after)
            return new

    async def remove(self, webhook_id: str, by: Principal) -> None:
        """Take a webhook away with all its deliveries.

        Raises:
            NotFound: there is none with this id, or `by` may not see it.
        """
        async with self._database.transaction() as tx:
            old = (await locked(tx, webhook_id, by)).shown
            await tx.webhooks.remove(webhook_id)
            await tx.audit.add(by, "webhook.delete", webhook_id, before=_audited(old), after={})

    async def rotate(self, webhook_id: str, wanted: RotateSecret, by: Principal) -> WebhookSecret:
        """Make a new secret; the old one signs as well until the overlap has ended.

        Raises:
            NotFound: there is none with this id, or `by` may not see it.
        """
        async with self._database.transaction() as tx:
            stored = await locked(tx, webhook_id, by)
            old = WebhookSecrets.opened(self._keyring, stored.sealed, webhook_id)
            secrets = WebhookSecrets(new_secret(), old.secret, old.headers)
            until = datetime.now(UTC) + wanted.overlap
            sealed = secrets.sealed(self._keyring, webhook_id)
            await tx.webhooks.put_secrets(webhook_id, sealed, stored.shown.headers, until)
            after = {"previous_until": until.isoformat()}
            await tx.audit.add(by, "webhook.rotate-secret", webhook_id, before={}, after=after)
            shown = (await tx.webhooks.get(webhook_id)).shown
        return WebhookSecret(secret=secrets.secret, info=shown)

    async def _put_headers(
        self, tx: Transaction, stored: StoredWebhook, given: dict[str, str | None]
    ) -> None:
        webhook_id = stored.shown.id
        old = WebhookSecrets.opened(self._keyring, stored.sealed, webhook_id)
        kept = {**old.headers, **given}
        headers = {name: value for name, value in kept.items() if value is not None}
        if len(headers) > MOST_HEADERS:
            raise _invalid("headers", f"may be {MOST_HEADERS} at most")
        sealed = WebhookSecrets(old.secret, old.previous, headers).sealed(self._keyring, webhook_id)
        until = stored.shown.previous_until
        await tx.webhooks.put_secrets(webhook_id, sealed, sorted(headers), until)

    def _check(self, url: str) -> None:
        try:
            check_url(url, self._rules)
        except Refused as refused:
            raise _invalid("url", str(refused)) from None


async def seen(tx: Reading | Transaction, webhook_id: str, by: Principal) -> StoredWebhook:
    """A webhook, if `by` may see it.

    Raises:
        NotFound: there is none with this id, or `by` may not see it.
    """
    stored = await tx.webhooks.get(webhook_id)
    _require_seen(stored.shown, Action.WEBHOOKS_READ, by)
    return stored


async def locked(tx: Transaction, webhook_id: str, by: Principal) -> StoredWebhook:
    """A webhook that `by` may change; nobody else does until the transaction ends.

    Raises:
        NotFound: there is none with this id, or `by` may not change it.
        Forbidden: it is personal, and the key of `by` is for one project.
    """
    stored = await tx.webhooks.lock(webhook_id)
    _require_seen(stored.shown, Action.WEBHOOKS_CHANGE, by)
    if not stored.shown.shared:
        _require_whole(by, stored.shown.project)
    return stored


def webhook_reach(role: Role) -> Reach | None:
    """Of whose things a personal webhook of somebody with this role is told; None: of nobody's."""
    reach = POLICY[role].get(Action.WEBHOOKS_READ)
    return reach if reach in (None, Reach.ALL) else Reach.OWN


async def _vouching(tx: Transaction, webhook_id: str, by: Principal) -> Principal:
    webhook = (await tx.webhooks.get(webhook_id)).shown
    _require_seen(webhook, Action.WEBHOOKS_CHANGE, by)
    now = await as_of_now(tx, by, webhook.project if webhook.shared else None)
    _require_seen(webhook, Action.WEBHOOKS_CHANGE, now)
    now.require(Action.JOBS_READ, project=webhook.project)
    return now


def _require_place(project: str, by: Principal) -> None:
    if not by.sees(project):
        raise no_project(project)
    by.require(Action.WEBHOOKS_CHANGE, owner=by.name, project=project)
    by.require(Action.JOBS_READ, project=project)
    if project == by.name:
        _require_whole(by, project)


def _require_seen(webhook: Webhook, action: Action, by: Principal) -> None:
    if not by.may(action, owner=webhook.owner, project=webhook.project):
        raise no_webhook(webhook.id)


def _require_whole(by: Principal, project: str) -> None:
    """A personal webhook tells of all of its owner's projects: more than such a key may see."""
    if by.only is not None:
        raise Forbidden(
            f"the API key `{by.credential}` of `{by.name}` is for the project `{project}` only, "
            "and a personal webhook is told of all projects",
            action=Action.WEBHOOKS_CHANGE,
        )


def _check_headers(old: Webhook, url: str, given: set[str]) -> None:
    """Secrets that were meant for one host are not sent to another: not everybody knows them."""
    missing = set(old.headers) - given
    if missing and _origin(url) != _origin(old.url):
        names = ", ".join(f"`{name}`" for name in sorted(missing))
        raise _invalid(
            "headers", f"must be given anew (or taken away with null) for another host: {names}"
        )


def _origin(url: str) -> str:
    """Scheme, host and port: the rest of a URL may be a secret."""
    import httpx  # takes some MiB, and many have no webhook

    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def _audited(webhook: Webhook) -> dict[str, Any]:
    """What the audit log says of it."""
    shown = webhook.model_dump(
        mode="json",
        include={"owner", "project", "description", "events", "jobs", "headers", "enabled"},
    )
    return {**shown, "url": _origin(webhook.url), "jobs": _chosen(webhook.jobs)}


def _chosen(jobs: JobFilter) -> dict[str, Any]:
    return jobs.model_dump(mode="json", exclude_defaults=True)


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"the webhook is not valid: `{field}` {message}",
        errors=[FieldError(field=field, message=message)],
    )
