"""Storing an accepted group: the group, its members, their order, events, audit entry, command.

One statement, as for single jobs (`cortex.db.jobs.accept`): there is no moment at which a part of a
group is there. Members are `held`: nobody starts them but the group.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import text

from cortex.db.audit import submitter
from cortex.db.base import Access, Repository, Writes
from cortex.db.jobs.repository import NewJob
from cortex.domain.events import EventType
from cortex.domain.groups.expand import ExpandedJob, GroupSpec
from cortex.domain.groups.states import GroupState
from cortex.domain.ids import new_id
from cortex.domain.rights import Principal
from cortex.domain.states import JobState
from cortex.domain.templates import TemplateRef

# Guards nothing: nobody knows these ids before. All of it is there at once, or nothing.
_STORE: Final = text(
    f"""
WITH given AS (
    SELECT e->>'id' AS id, e->>'name' AS name, e->>'owner' AS owner, e->>'project' AS project,
        e->'spec' AS spec,
        decode(e->>'secrets', 'base64') AS secrets, e->'labels' AS labels,
        e->>'api_key' AS api_key, e->>'member' AS member, (e->>'gang')::int AS gang,
        e->>'event' AS event, e->'data' AS data, CAST(e->>'reserve' AS numeric) AS reserve, n
    FROM jsonb_array_elements(CAST(:jobs AS jsonb)) WITH ORDINALITY AS t(e, n)
), grouped AS (
    INSERT INTO job_groups (id, name, owner, project, state, spec, labels, template)
    VALUES (:id, :name, :owner, :project, '{GroupState.PENDING}',
        CAST(:spec AS jsonb), CAST(:labels AS jsonb), CAST(:template AS jsonb))
), stored AS (
    INSERT INTO jobs (id, name, owner, project, spec, secrets, state, labels,
        group_id, member, gang, held, template, api_key)
    SELECT id, name, owner, project, spec, secrets, :state, labels,
        :id, member, gang, true, CAST(:template AS jsonb), api_key FROM given
), reserved AS (
    INSERT INTO job_reserves (job_id, usd) SELECT id, reserve FROM given WHERE reserve IS NOT NULL
), gangs AS (
    INSERT INTO job_gangs (group_id, gang) SELECT DISTINCT :id, gang FROM given
), needs AS (
    INSERT INTO job_needs (job_id, needs_job_id)
    SELECT * FROM unnest(CAST(:dependents AS text[]), CAST(:needed AS text[]))
), audited AS (
    INSERT INTO audit_log (actor, credential, action, subject, source, request_id, data)
    SELECT :actor, :credential, 'group.submit', :id, :source, :request_id,
        CAST(:audit AS jsonb)
    WHERE CAST(:audited AS boolean)
), told AS (
    INSERT INTO events (id, type, subject, job_id, data)
    SELECT event, type, subject, job_id, data FROM (
        SELECT :event AS event, :group_type AS type, :id AS subject, NULL AS job_id,
            CAST(:data AS jsonb) AS data, 0 AS n
        UNION ALL
        SELECT event, :job_type, id, id, data, n FROM given
    ) facts ORDER BY n
), started AS (
    INSERT INTO commands (group_id, kind) VALUES (:id, 'start_group')
)
SELECT now()
"""
)


@dataclass(frozen=True)
class NewMember:
    job: NewJob
    member: ExpandedJob


@dataclass(frozen=True)
class NewGroup:
    """A group that is accepted.

    Attributes:
        members: Its jobs, in their order.
        needs: Job ids: which needs which.
        project: Where it belongs; empty: the owner's personal one.
        template: What it was made from, if from one.
    """

    id: str
    owner: str
    spec: GroupSpec
    members: Sequence[NewMember]
    needs: Sequence[tuple[str, str]]
    project: str = ""
    template: TemplateRef | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "project", self.project or self.owner)


class GroupAcceptanceRepository(Repository[Access]):
    async def store(
        self: "GroupAcceptanceRepository[Writes]",
        group: NewGroup,
        specs: Sequence[Mapping[str, Any]],
        reserves: Sequence[Decimal] | None = None,
        by: Principal | None = None,
    ) -> datetime:
        """Store a group as `pending`, its members held; returns when.

        Args:
            group: What is accepted.
            specs: The specs of its members as JSON values, secrets masked.
            reserves: What is set aside for each, in USD, once the budgets were locked and allow it.
            by: Who submits it, for the audit log; None: nothing is said there.
        """
        amounts = [None] * len(specs) if reserves is None else [f"{usd:f}" for usd in reserves]
        given = [
            _row(group, member, spec) | {"reserve": usd}
            for member, spec, usd in zip(group.members, specs, amounts, strict=True)
        ]
        result = await self.connection.execute(
            _STORE,
            {
                "id": group.id,
                "name": group.spec.name,
                "owner": group.owner,
                "project": group.project,
                "spec": orjson.dumps(group.spec.masked()).decode(),
                "labels": orjson.dumps(group.spec.labels).decode(),
                "template": group.template and group.template.model_dump_json(),
                "jobs": orjson.dumps(given).decode(),
                "state": JobState.PENDING.value,
                "dependents": [dependent for dependent, _ in group.needs],
                "needed": [needed for _, needed in group.needs],
                "event": new_id("evt"),
                "group_type": EventType.GROUP_SUBMITTED.value,
                "job_type": EventType.JOB_SUBMITTED.value,
                "data": orjson.dumps(_group_data(group)).decode(),
                "audit": orjson.dumps(_audited(group)).decode(),
                **submitter(by),
            },
        )
        created_at: datetime = result.scalar_one()
        return created_at


def _audited(group: NewGroup) -> dict[str, Any]:
    """What the audit log says of it."""
    made = {} if group.template is None else {"template": group.template.model_dump()}
    return made | {
        "name": group.spec.name,
        "project": group.project,
        "members": len(group.members),
    }


def _group_data(group: NewGroup) -> dict[str, Any]:
    return {
        "group_id": group.id,
        "state": GroupState.PENDING.value,
        "name": group.spec.name,
        "owner": group.owner,
        "project": group.project,
        "labels": group.spec.labels,
        "members": len(group.members),
    }


def _row(group: NewGroup, member: NewMember, spec: Mapping[str, Any]) -> dict[str, Any]:
    job = member.job
    return {
        "id": job.id,
        "name": job.spec.name,
        "owner": job.owner,
        "project": job.project,
        "spec": spec,
        "secrets": base64.b64encode(job.secrets).decode() if job.secrets is not None else None,
        "labels": job.spec.labels,
        "api_key": job.api_key,
        "member": member.member.name,
        "gang": member.member.gang,
        "event": new_id("evt"),
        "data": {
            "state": JobState.PENDING.value,
            "name": job.spec.name,
            "owner": job.owner,
            "project": job.project,
            "labels": job.spec.labels,
            "group_id": group.id,
            "member": member.member.name,
        },
    }
