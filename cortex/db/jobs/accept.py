"""Storing accepted jobs: rows, events, audit entries and start commands in one statement.

Triggers write the history and wake the listeners.

One round trip for one job as for a thousand, and it is atomic by itself.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import text

from cortex.db.audit import submitter
from cortex.db.base import Access, Repository, Writes
from cortex.db.direct import Direct
from cortex.db.jobs.repository import NewJob
from cortex.db.money.spending import covers
from cortex.domain.events import EventType
from cortex.domain.ids import new_id
from cortex.domain.rights import Principal
from cortex.domain.states import JobState

_STORE: Final = Direct(
    text(f"""
WITH sent AS (
    SELECT e, n FROM jsonb_array_elements(CAST(:jobs AS jsonb)) WITH ORDINALITY AS t(e, n)
), watched AS (
    SELECT 1 FROM budgets b WHERE b.enabled AND b.action = 'stop' AND EXISTS (
        SELECT 1 FROM sent WHERE {
        covers(
            "b",
            "sent.e->>'owner'",
            "sent.e->>'project'",
            "(sent.e->'labels')",
            "sent.e->>'api_key'",
        )
    })
), given AS (
    SELECT e->>'id' AS id, e->>'name' AS name, e->>'owner' AS owner, e->>'project' AS project,
        e->'spec' AS spec,
        decode(e->>'secrets', 'base64') AS secrets, e->'labels' AS labels,
        e->'template' AS template, e->>'api_key' AS api_key,
        e->>'event' AS event, e->'data' AS data, CAST(e->>'reserve' AS numeric) AS reserve, n
    FROM sent WHERE CAST(:reserved AS boolean) OR NOT EXISTS (SELECT 1 FROM watched)
), stored AS (
    INSERT INTO jobs (id, name, owner, project, spec, secrets, state, labels, template,
        api_key)
    SELECT id, name, owner, project, spec, secrets, :state, labels, template, api_key FROM given
), reserved AS (
    INSERT INTO job_reserves (job_id, usd) SELECT id, reserve FROM given WHERE reserve IS NOT NULL
), audited AS (
    INSERT INTO audit_log (actor, credential, action, subject, source, request_id, data)
    SELECT :actor, :credential, 'job.submit', id, :source, :request_id,
        jsonb_strip_nulls(jsonb_build_object(
            'name', name, 'project', project, 'template', template))
    FROM given WHERE CAST(:audited AS boolean) ORDER BY n
), told AS (
    INSERT INTO events (id, type, subject, job_id, data)
    SELECT event, :type, id, id, data FROM given ORDER BY n
), started AS (
    INSERT INTO commands (job_id, kind, due_at)
    SELECT id, 'start', now() + :delay FROM given ORDER BY n
    RETURNING id
)
SELECT now() AS created_at, array_agg(started.id ORDER BY started.id) AS ids FROM started
""")
)


@dataclass(frozen=True)
class Stored:
    """When the jobs were created, and the ids of their start commands in the same order."""

    created_at: datetime
    commands: list[int]


class AcceptanceRepository(Repository[Access]):
    async def store(
        self: "AcceptanceRepository[Writes]",
        jobs: Sequence[NewJob],
        specs: Sequence[dict[str, Any]],
        *,
        delay: timedelta,
        reserves: Sequence[Decimal | None] | None = None,
        by: Principal | None = None,
    ) -> Stored | None:
        """Store accepted jobs as `pending` with event and start command.

        Args:
            jobs: What is accepted.
            specs: Their specs as JSON values, secrets masked.
            delay: How long the relay leaves the commands to the caller.
            reserves: What is set aside for each, in USD, once the budgets were locked and allow it.
            by: Who submits them, for the audit log; None: nothing is said there.

        Returns:
            None, and nothing is stored, if a budget that stops jobs covers one of them and no
            `reserves` are given.
        """
        amounts = reserves if reserves is not None else [None] * len(jobs)
        given = [
            _row(job, spec) | {"reserve": None if usd is None else f"{usd:f}"}
            for job, spec, usd in zip(jobs, specs, amounts, strict=True)
        ]
        stored = await _STORE.first(
            self.connection,
            {
                "jobs": orjson.dumps(given).decode(),
                "state": JobState.PENDING.value,
                "type": EventType.JOB_SUBMITTED.value,
                "delay": delay,
                "reserved": reserves is not None,
                **submitter(by),
            },
        )
        if stored is None or stored["ids"] is None:
            return None
        return Stored(created_at=stored["created_at"], commands=list(stored["ids"]))


def _row(job: NewJob, spec: dict[str, Any]) -> dict[str, Any]:
    made = {} if job.template is None else {"template": job.template.model_dump()}
    return made | {
        "id": job.id,
        "name": job.spec.name,
        "owner": job.owner,
        "project": job.project,
        "spec": spec,
        "secrets": base64.b64encode(job.secrets).decode() if job.secrets is not None else None,
        "labels": job.spec.labels,
        "api_key": job.api_key,
        "event": new_id("evt"),
        "data": {
            "state": JobState.PENDING.value,
            "name": job.spec.name,
            "owner": job.owner,
            "project": job.project,
            "labels": job.spec.labels,
        },
    }
