"""Housekeeping of the database: partitions ahead, retention behind."""

import shutil
from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from activities.runtime.errors import relentless
from activities.secrets import rotate_secrets
from cortex.db.engine import Database
from cortex.db.partitions import drop_partitions, ensure_partitions
from cortex.security.keyring import KeyRing
from cortex.settings import Settings
from cortex.temporal.client import delete_run
from cortex.temporal.contracts import HEALTH_WORKFLOW, RECONCILE_WORKFLOW

_log = structlog.get_logger(__name__)

_IDEMPOTENCY = timedelta(days=7)
_DONE_COMMANDS = timedelta(days=2)
_OLD_DRAFTS = timedelta(hours=1)
_OLD_LINKS = timedelta(days=30)
_OLD_MESSAGES = timedelta(days=30)
_OLD_LOGINS = timedelta(hours=1)
_OLD_SESSIONS = timedelta(days=30)
_STALE_PARTS = timedelta(days=1)
_OLD_CHECKS = timedelta(days=1)
_MOST_CHECKS = 2000
_DELIVERIES = 5000


class MaintenanceActivities:
    def __init__(
        self, database: Database, settings: Settings, client: Client | None = None
    ) -> None:
        self._database = database
        self._settings = settings
        self._client = client
        self._keyring = KeyRing.from_setting(settings.encryption_keys)

    @relentless
    async def maintain(self) -> dict[str, int]:
        """Make the partitions that are due, delete what is past its retention, and encrypt with
        the newest key what is under an older one.

        Returns how many of each kind were made, deleted or encrypted.
        """
        now = datetime.now(UTC)
        async with self._database.transaction() as tx:
            made = await ensure_partitions(tx.connection, now)
            kept = self._settings.retention
            dropped = await drop_partitions(
                tx.connection, now - kept.events, metrics=now - kept.metrics
            )
        async with self._database.transaction() as tx:
            logs = await tx.logs.expire(self._settings.logs.retention)
            keys = await tx.idempotency.expire(_IDEMPOTENCY)
            commands = await tx.commands.expire(_DONE_COMMANDS)
            drafts = await tx.managed.expire_drafts(_OLD_DRAFTS)
            findings = await tx.findings.expire(self._settings.retention.events)
            sessions = await tx.sessions.expire(_OLD_SESSIONS)
            links = await tx.links.expire(_OLD_LINKS)
            messages = await tx.messages.expire(_OLD_MESSAGES)
            notices = await tx.notices.expire(_OLD_MESSAGES)
            challenges = await tx.passkeys.expire(_OLD_LOGINS)
            devices = await tx.devices.expire(_OLD_LOGINS)
            sso = await tx.sso.expire(_OLD_LOGINS)
            attempts = await tx.logins.expire(2 * self._settings.lockout.forget)
        deliveries = await self._expire_deliveries()
        rotated = await rotate_secrets(self._database, self._keyring)
        parts = self._drop_stale_parts(now)
        checks = await self._drop_old_checks(now)
        return {
            "partitions_made": len(made),
            "partitions_dropped": len(dropped),
            "log_chunks": logs,
            "idempotency_keys": keys,
            "commands": commands,
            "provider_drafts": drafts,
            "findings": findings,
            "sessions": sessions,
            "login_links": links,
            "messages": messages,
            "notices": notices,
            "login_attempts": attempts,
            "sso_logins": sso,
            "device_logins": devices,
            "passkey_challenges": challenges,
            "webhook_deliveries": deliveries,
            "secrets_rotated": rotated,
            "output_parts": parts,
            "check_runs": checks,
        }

    async def _expire_deliveries(self) -> int:
        """Many: a busy server makes millions a week."""
        limits, expired = self._settings.webhooks, 0
        while True:
            async with self._database.transaction() as tx:
                count = await tx.deliveries.expire(
                    limits.keep_delivered, limits.keep_dead, limit=_DELIVERIES
                )
            expired += count
            if activity.in_activity():
                activity.heartbeat()
            if count < _DELIVERIES:
                return expired

    async def _drop_old_checks(self, now: datetime) -> int:
        """Runs of health checks and of reconcile: many, alike, and what they found is in tables."""
        if self._client is None:
            return 0
        before = (now - _OLD_CHECKS).isoformat()
        types = f"'{HEALTH_WORKFLOW}', '{RECONCILE_WORKFLOW}'"
        query = f"WorkflowType IN ({types}) AND CloseTime < '{before}'"
        dropped = 0
        try:
            async for run in self._client.list_workflows(query, limit=_MOST_CHECKS):
                await delete_run(self._client, run.id, run.run_id)
                dropped += 1
                activity.heartbeat()
        except RPCError as error:  # some servers do not allow it, or are busy: the next time
            _log.warning("maintenance.check_runs", error=error.message)
        return dropped

    def _drop_stale_parts(self, now: datetime) -> int:
        """Half-copied outputs, and packed inputs, of workers that died."""
        stale = 0
        for part in self._settings.outputs_dir.glob(".*.part"):
            changed = datetime.fromtimestamp(part.stat().st_mtime, UTC)
            if now - changed > _STALE_PARTS:
                if part.is_dir():
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink(missing_ok=True)
                stale += 1
        return stale
