"""Taking groups: expanded, checked, encrypted and stored with all their members at once."""

import asyncio
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import orjson

from cortex.db.engine import Database, Transaction
from cortex.db.groups.accept import NewGroup, NewMember
from cortex.db.jobs.repository import NewJob
from cortex.db.providers.repository import StoredProvider
from cortex.documents import Shape, shape_of
from cortex.domain.errors import (
    CortexError,
    FieldError,
    NoProviderCanRun,
    OverBudget,
    ServiceUnavailable,
)
from cortex.domain.groups.expand import ExpandedJob, GroupSpec, expand
from cortex.domain.ids import new_id
from cortex.domain.money import Money
from cortex.domain.rights import Principal
from cortex.domain.spec import JobSpec
from cortex.schemas.groups import ExpandedMember, GroupValidation
from cortex.security.keyring import KeyRing
from cortex.security.places import job_place
from cortex.services.jobs.admission import Assessment, assess, require_open
from cortex.services.jobs.idempotency import Origin, check_key, fingerprint, in_project
from cortex.services.jobs.notify import names_others, require_told
from cortex.services.jobs.references import Opened, Secrets, write_down
from cortex.services.money.reserves import require_room, upper_bound
from cortex.services.plugins import PluginDirectory
from cortex.services.providers.queries import ProviderRegistry
from cortex.settings import Settings

_SORTED: Final = orjson.OPT_SORT_KEYS
_FRACTION: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True)
class AcceptedGroup:
    """The group that a submission made, or had made the first time it was sent."""

    group_id: str
    replayed: bool


@dataclass(frozen=True)
class _Market:
    """What members are checked against."""

    providers: Sequence[StoredProvider]
    strategies: Collection[str]
    max_duration: timedelta

    def assess(self, spec: JobSpec) -> Assessment:
        return assess(
            spec, self.providers, max_duration=self.max_duration, strategies=self.strategies
        )


class GroupSubmissions:
    """Accepts groups."""

    def __init__(
        self,
        database: Database,
        *,
        registry: ProviderRegistry,
        plugins: PluginDirectory,
        settings: Settings,
    ) -> None:
        self._database = database
        self._registry = registry
        self._plugins = plugins
        self._settings = settings
        self._keys = KeyRing.from_setting(settings.encryption_keys)

    async def validate(
        self, spec: GroupSpec, *, project: str = "", by: Principal | None = None
    ) -> GroupValidation:
        """What `submit` would say, and what the group's jobs become; nothing is stored.

        Raises:
            CortexError: as `submit` does.
        """
        market = await self._market()

        members = await asyncio.to_thread(expand, spec)
        if by is not None and names_others(spec.notify, by.name):
            async with self._database.reading() as tx:
                await require_told(tx, [spec.notify], by.name, project, self._settings.api)
        opened = Opened({})
        if any(member.spec.references() for member in members):
            secrets = Secrets(self._keys, project or (by.name if by else ""), by)
            async with self._database.reading() as tx:
                opened = await secrets.of_group(tx, spec)

        def work() -> GroupValidation:
            return _validation(spec, members, _assess_all(spec, members, market, opened))

        return await asyncio.to_thread(work)

    async def submit(
        self,
        spec: GroupSpec,
        owner: str,
        key: str | None = None,
        *,
        project: str = "",
        origin: Origin | None = None,
        by: Principal | None = None,
    ) -> AcceptedGroup:
        """Accept a group with all its members, or nothing of it.

        Args:
            spec: What is to run.
            owner: Who submits it.
            key: Of an `Idempotency-Key`.
            project: Where it belongs; empty: the owner's personal one.
            origin: The template it was made from, and what was asked for.
            by: Whose right to use the project's secrets counts, and the budget of whose key; who is
                in the audit log. None: it may refer to none, and nobody is.

        Raises:
            InvalidRequest, NoProviderCanRun, OverBudget: a member is not taken, so none is.
            Forbidden: it refers to secrets that `by` may not use.
            BudgetUsedUp: a budget has not enough left for all of them.
            IdempotencyConflict: the key was used for another spec.
            ServiceUnavailable: the database is away, or no provider is registered yet.
        """
        check_key(key)
        market = await self._market()
        # Beside the event loop, here and below: there may be a thousand members.
        members = await asyncio.to_thread(expand, spec)
        async with self._database.transaction() as tx:
            if key is not None:
                mark, former = (
                    (origin.mark, origin.mark)
                    if origin is not None
                    else await asyncio.to_thread(
                        self._fingerprints, spec, members, in_project("", owner, project or owner)
                    )
                )
                seen = await tx.idempotency.seen(owner, key, mark, former)
                if seen is not None:
                    return AcceptedGroup(seen[0], replayed=True)
            require_open(self._settings.jobs)
            await require_told(tx, [spec.notify], owner, project, self._settings.api)
            opened = await Secrets(self._keys, project or owner, by).of_group(tx, spec)
            assessments = await asyncio.to_thread(_assess_all, spec, members, market, opened)
            group = await asyncio.to_thread(
                self._prepare,
                spec,
                members,
                opened,
                owner=owner,
                project=project,
                api_key=by.budget_key if by is not None else None,
            )
            group = replace(group, template=origin.template if origin is not None else None)
            if origin is not None and origin.claim is not None:
                await origin.claim(tx, group.id)
            specs = [member.job.spec.model_dump(mode="json") for member in group.members]
            await write_down(tx, opened)
            if key is not None:
                await tx.idempotency.remember(owner, key, fingerprint=mark, job_ids=[group.id])
            reserves = await _reserves(tx, group, assessments, market)
            # No lock: nobody knows these ids before the commit.
            await tx.group_acceptance.store(group, specs, reserves, by)
        return AcceptedGroup(group.id, replayed=False)

    async def _market(self) -> _Market:
        return _Market(
            await self._registry.all(),
            await self._plugins.strategies(),
            self._settings.jobs.max_duration,
        )

    def _fingerprints(
        self, spec: GroupSpec, members: Sequence[ExpandedJob], where: str
    ) -> tuple[str, str]:
        """Of today, and as it was when the fractions of a document were not kept as text."""
        masked = spec.masked()
        specs = [member.spec for member in members]
        keys = self._settings.encryption_keys
        today, former = (
            fingerprint(f"group{where} {orjson.dumps(shown, option=_SORTED).decode()}", specs, keys)
            for shown in (masked, _with_fractions(masked, shape_of(GroupSpec)))
        )
        return today, former

    def _prepare(
        self,
        spec: GroupSpec,
        members: Sequence[ExpandedJob],
        opened: Opened,
        *,
        owner: str,
        project: str,
        api_key: str | None,
    ) -> NewGroup:
        group_id = new_id("grp")
        # Sorted, so that members are listed in the order of the spec.
        made = sorted(new_id("job") for _ in members)
        ids = {member.name: job_id for member, job_id in zip(members, made, strict=True)}
        jobs = [
            NewMember(
                self._sealed(
                    NewJob(
                        id=ids[expanded.name],
                        owner=owner,
                        spec=expanded.job(group_id, ids),
                        project=project,
                        api_key=api_key,
                    ),
                    opened,
                ),
                expanded,
            )
            for expanded in members
        ]
        return NewGroup(
            id=group_id,
            owner=owner,
            project=project,
            spec=spec,
            members=jobs,
            needs=[
                (ids[expanded.name], ids[name]) for expanded in members for name in expanded.needs
            ],
        )

    def _sealed(self, job: NewJob, opened: Opened) -> NewJob:
        if not job.spec.secret_env:
            return job
        secrets = opened.clear(job.spec).secrets()
        return replace(job, secrets=self._keys.encrypt(secrets, job_place(job.id)))


def _with_fractions(value: Any, shape: Shape) -> Any:
    """The spec with a number wherever a fraction is read to its last digit: `"0.1"` is 0.1."""
    if isinstance(value, dict):
        return {name: _with_fractions(part, shape.at(name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_fractions(part, shape.each()) for part in value]
    if isinstance(value, str) and shape.scalar == "exact" and _FRACTION.fullmatch(value):
        return float(value)
    return value


async def _reserves(
    tx: Transaction, group: NewGroup, assessments: Sequence[Assessment], market: _Market
) -> list[Decimal] | None:
    """What to set aside for the members, if a budget that stops jobs covers one of them.

    Raises:
        BudgetUsedUp: there is not enough left.
    """
    jobs = [member.job for member in group.members]
    states = await tx.budgets.lock_covering([job.covered for job in jobs])
    if not states:
        return None
    bounds = [
        upper_bound(job.spec, assessment.estimates, market.providers)
        for job, assessment in zip(jobs, assessments, strict=True)
    ]
    require_room(states, jobs, bounds)
    return bounds


def _assess_all(
    spec: GroupSpec, members: Sequence[ExpandedJob], market: _Market, opened: Opened
) -> list[Assessment]:
    places = {job.array: number for number, job in enumerate(spec.jobs)}
    assessments = []
    for member in members:
        number = places[member.array]
        clear = opened.member(member, number).spec
        try:
            assessments.append(market.assess(clear))
        except ServiceUnavailable:
            raise
        except CortexError as error:
            raise _of_member(error, member, number) from None
    return assessments


def _of_member(error: CortexError, member: ExpandedJob, number: int) -> CortexError:
    """The same error, said of one member; its fields are those of the group spec."""
    place = f"jobs[{number}]"
    per_provider = isinstance(error, NoProviderCanRun | OverBudget)
    errors = [
        FieldError(field=place, message=f"`{member.name}` at {problem.field}: {problem.message}")
        if per_provider
        else FieldError(field=f"{place}.{problem.field}", message=problem.message)
        for problem in error.errors
    ]
    return type(error)(f"member `{member.name}`: {error.detail}", errors=errors)


def _validation(
    spec: GroupSpec, members: Sequence[ExpandedJob], assessments: Sequence[Assessment]
) -> GroupValidation:
    most: dict[str, Decimal] = {}
    shown = []
    for member, assessment in zip(members, assessments, strict=True):
        cheapest = assessment.estimates[0] if assessment.estimates else None
        if cheapest is not None:
            total = most.get(cheapest.most.currency, Decimal(0))
            most[cheapest.most.currency] = total + cheapest.most.amount
        shown.append(
            ExpandedMember(
                member=member.name,
                name=member.spec.name,
                gang=member.gang,
                params=dict(member.params),
                needs=member.needs,
                cheapest=cheapest,
            )
        )
    return GroupValidation(
        name=spec.name,
        policy=spec.policy,
        total=len(members),
        gangs=len({member.gang for member in members}),
        members=tuple(shown),
        most=tuple(Money(amount=most[name], currency=name) for name in sorted(most)),
    )
