"""Taking jobs: checked, encrypted and stored with event and start command in one transaction."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from cortex.db.engine import Database, Reading, Statement, Transaction
from cortex.db.jobs.repository import NewJob
from cortex.db.outbox.commands import Command
from cortex.db.providers.repository import StoredProvider
from cortex.domain.errors import CortexError
from cortex.domain.ids import new_id
from cortex.domain.jobs import Job
from cortex.domain.money import Money
from cortex.domain.rights import Principal
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState
from cortex.schemas.jobs import AcceptedJob, BatchAccepted, Validation
from cortex.security.keyring import KeyRing
from cortex.security.places import job_place
from cortex.services.jobs.admission import Assessment, assess, at_index, require_open
from cortex.services.jobs.idempotency import Origin, check_key, fingerprint, in_project
from cortex.services.jobs.inputs import require_inputs
from cortex.services.jobs.notify import names_others, require_told
from cortex.services.jobs.references import Opened, Secrets, write_down
from cortex.services.money.reserves import require_room, upper_bound
from cortex.services.plugins import PluginDirectory
from cortex.services.providers.queries import ProviderRegistry
from cortex.services.views import job_view, new_job_view
from cortex.settings import Settings
from cortex.temporal.outbox.dispatcher import HEAD_START, Delivery, Dispatcher

Kind = Literal["job", "batch"]

_NOTHING: Final = Money.zero()
_NONE: Final = Opened({})
# From here on checking takes long enough to be done beside the event loop.
_MANY = 20


@dataclass(frozen=True)
class Accepted:
    """What a submission made, or had made the first time it was sent."""

    answer: Any
    job_id: str
    replayed: bool


@dataclass(frozen=True)
class _Stored:
    created_at: datetime
    specs: list[dict[str, Any]]
    deliveries: list[Delivery]


@dataclass(frozen=True)
class _Market:
    """What jobs are checked against."""

    providers: Sequence[StoredProvider]
    strategies: Collection[str]


class Submissions:
    """Accepts jobs."""

    def __init__(
        self,
        database: Database,
        *,
        registry: ProviderRegistry,
        plugins: PluginDirectory,
        dispatcher: Dispatcher,
        settings: Settings,
    ) -> None:
        self._database = database
        self._registry = registry
        self._plugins = plugins
        self._dispatcher = dispatcher
        self._settings = settings
        self._keys = KeyRing.from_setting(settings.encryption_keys)

    async def validate(
        self,
        spec: JobSpec,
        visible: frozenset[str] | None = None,
        *,
        project: str = "",
        by: Principal | None = None,
    ) -> Validation:
        """What `submit` would say, without storing anything."""
        owner = by.name if by is not None else ""
        await self._check_others(spec, owner, project, visible)
        market = await self._market()
        assessment = self._assess(await self.clear(spec, project=project, by=by), market)
        return Validation(
            spec=spec, estimates=assessment.estimates, objections=assessment.objections
        )

    async def clear(
        self, spec: JobSpec, *, project: str = "", by: Principal | None = None
    ) -> JobSpec:
        """The spec with the values of the secrets that it refers to.

        Raises:
            CortexError: as `submit` does, as far as secrets are concerned.
        """
        if not spec.references():
            return spec
        secrets = Secrets(self._keys, project or (by.name if by else ""), by)
        async with self._database.reading() as tx:
            opened = await secrets.of_jobs(tx, [spec], batch=False)
        return opened.clear(spec)

    async def submit(
        self,
        spec: JobSpec,
        owner: str,
        key: str | None = None,
        *,
        project: str = "",
        visible: frozenset[str] | None = None,
        origin: Origin | None = None,
        by: Principal | None = None,
    ) -> Accepted:
        """Accept one job; its answer is a `JobView`.

        Args:
            spec: What is to run.
            owner: Who submits it.
            key: Of an `Idempotency-Key`.
            project: Where it belongs; empty: the owner's personal one.
            visible: The projects whose jobs may give it inputs; None: all.
            origin: The template it was made from, and what was asked for.
            by: Whose right to use the project's secrets counts, and the budget of whose key; who is
                in the audit log. None: it may refer to none, and nobody is.

        Raises:
            InvalidRequest, NoProviderCanRun, OverBudget: it is not taken; nothing is stored.
            Forbidden: it refers to secrets that `by` may not use.
            IdempotencyConflict: the key was used for another spec.
            ServiceUnavailable: the database is away, or no provider is registered yet.
        """
        check_key(key)
        market = await self._market()
        jobs = self._new_jobs([spec], owner, project, by, origin)
        claim = origin.claim if origin is not None else None
        if key is None and claim is None and not spec.references():
            require_open(self._settings.jobs)
            await self._check_others(spec, owner, project, visible)
            self._assess(spec, market)
            stored = await self._store_at_once(jobs, market, by)
        else:
            async with self._database.transaction() as tx:
                mark = self._mark("job", jobs) if origin is None else origin.mark
                seen = await _seen(tx, owner, key, mark)
                if seen is not None:
                    return Accepted(await self._view(tx, seen[0]), seen[0], replayed=True)
                require_open(self._settings.jobs)
                await require_inputs(tx, [spec], seen=visible)
                await require_told(tx, [spec.notify], owner, project, self._settings.api)
                opened = await self._open(tx, jobs, by, batch=False)
                self._assess(opened.clear(spec), market)
                if claim is not None:
                    await claim(tx, jobs[0].id)
                await _remember(tx, jobs, key, mark)
                stored = await self._store(tx, jobs, market, opened, by)
        self._deliver(stored)
        view = new_job_view(jobs[0], stored.specs[0], stored.created_at, self._settings.temporal)
        return Accepted(view, jobs[0].id, replayed=False)

    async def submit_batch(
        self,
        specs: Sequence[JobSpec],
        owner: str,
        key: str | None = None,
        *,
        project: str = "",
        visible: frozenset[str] | None = None,
        by: Principal | None = None,
    ) -> Accepted:
        """Accept all of these jobs or none; the answer is a `BatchAccepted`.

        Raises:
            CortexError: as `submit` does, with the index of the first wrong job.
        """
        check_key(key)
        market = await self._market()
        jobs = self._new_jobs(specs, owner, project, by)
        async with self._database.transaction() as tx:
            mark = self._mark("batch", jobs)
            seen = await _seen(tx, owner, key, mark)
            if seen is not None:
                return Accepted(await _accepted(tx, seen), seen[0], replayed=True)
            require_open(self._settings.jobs)
            await require_inputs(tx, specs, batch=True, seen=visible)
            asked = [spec.notify for spec in specs]
            await require_told(tx, asked, owner, project, self._settings.api, batch=True)
            opened = await self._open(tx, jobs, by, batch=True)
            await self._assess_all(specs, opened, market)
            await _remember(tx, jobs, key, mark)
            stored = await self._store(tx, jobs, market, opened, by)
        self._deliver(stored)
        accepted = tuple(
            AcceptedJob(id=job.id, name=job.spec.name, state=JobState.PENDING) for job in jobs
        )
        return Accepted(BatchAccepted(jobs=accepted), jobs[0].id, replayed=False)

    async def replayed(self, job_id: str) -> Accepted:
        """The answer to a request that has made this job before."""
        async with self._database.reading() as tx:
            return Accepted(await self._view(tx, job_id), job_id, replayed=True)

    async def _check_others(
        self, spec: JobSpec, owner: str, project: str, visible: frozenset[str] | None
    ) -> None:
        """Jobs that give it inputs, and people who are told of it."""
        if spec.inputs or names_others(spec.notify, owner):
            async with self._database.reading() as tx:
                await require_inputs(tx, [spec], seen=visible)
                await require_told(tx, [spec.notify], owner, project, self._settings.api)

    async def _market(self) -> _Market:
        return _Market(await self._registry.all(), await self._plugins.strategies())

    def _assess(self, spec: JobSpec, market: _Market) -> Assessment:
        return assess(
            spec,
            market.providers,
            max_duration=self._settings.jobs.max_duration,
            strategies=market.strategies,
        )

    async def _open(
        self, tx: Reading, jobs: Sequence[NewJob], by: Principal | None, *, batch: bool
    ) -> Opened:
        secrets = Secrets(self._keys, jobs[0].project, by)
        return await secrets.of_jobs(tx, [job.spec for job in jobs], batch=batch)

    async def _assess_all(self, specs: Sequence[JobSpec], opened: Opened, market: _Market) -> None:
        def check() -> None:
            for index, spec in enumerate(specs):
                try:
                    self._assess(opened.clear(spec), market)
                except CortexError as error:
                    raise at_index(error, index) from None

        if len(specs) < _MANY:
            check()
        else:
            await asyncio.to_thread(check)

    def _new_jobs(
        self,
        specs: Sequence[JobSpec],
        owner: str,
        project: str,
        by: Principal | None,
        origin: Origin | None = None,
    ) -> list[NewJob]:
        # Sorted, so that a batch is listed in its own order.
        ids = sorted(new_id("job") for _ in specs)
        return [
            NewJob(
                id=job_id,
                owner=owner,
                spec=spec,
                project=project,
                template=origin.template if origin is not None else None,
                api_key=by.budget_key if by is not None else None,
            )
            for job_id, spec in zip(ids, specs, strict=True)
        ]

    def _sealed(self, job: NewJob, opened: Opened) -> NewJob:
        if not job.spec.secret_env:
            return job
        secrets = opened.clear(job.spec).secrets()
        return replace(job, secrets=self._keys.encrypt(secrets, job_place(job.id)))

    def _mark(self, kind: Kind, jobs: Sequence[NewJob]) -> str:
        where = in_project(kind, jobs[0].owner, jobs[0].project)
        return fingerprint(where, [job.spec for job in jobs], self._settings.encryption_keys)

    async def _store_at_once(
        self, jobs: Sequence[NewJob], market: _Market, by: Principal | None
    ) -> _Stored:
        """In one statement, which needs no transaction; in one if a budget must be asked."""
        sealed = [self._sealed(job, _NONE) for job in jobs]
        async with self._database.statement() as tx:
            stored = await self._write(tx, sealed, by)
        if stored is not None:
            return stored
        async with self._database.transaction() as tx:
            return await self._reserve(tx, sealed, _NONE, market, by)

    async def _store(
        self,
        tx: Transaction,
        jobs: Sequence[NewJob],
        market: _Market,
        opened: Opened,
        by: Principal | None,
    ) -> _Stored:
        sealed = [self._sealed(job, opened) for job in jobs]
        await write_down(tx, opened)
        stored = await self._write(tx, sealed, by)
        return stored or await self._reserve(tx, sealed, opened, market, by)

    async def _reserve(
        self,
        tx: Transaction,
        jobs: Sequence[NewJob],
        opened: Opened,
        market: _Market,
        by: Principal | None,
    ) -> _Stored:
        """Store them with what they may cost set aside, if every budget allows that."""
        bounds = await self._bounds(jobs, opened, market)
        states = await tx.budgets.lock_covering([job.covered for job in jobs])
        require_room(states, jobs, bounds)
        stored = await self._write(tx, jobs, by, bounds if states else [None] * len(jobs))
        if stored is None:
            raise RuntimeError("jobs with their reserves were not stored")
        return stored

    async def _bounds(
        self, jobs: Sequence[NewJob], opened: Opened, market: _Market
    ) -> list[Decimal]:
        def reckon() -> list[Decimal]:
            assessed = [self._assess(opened.clear(job.spec), market) for job in jobs]
            return [
                upper_bound(job.spec, each.estimates, market.providers)
                for job, each in zip(jobs, assessed, strict=True)
            ]

        return reckon() if len(jobs) < _MANY else await asyncio.to_thread(reckon)

    async def _write(
        self,
        tx: Statement,
        jobs: Sequence[NewJob],
        by: Principal | None,
        reserves: Sequence[Decimal | None] | None = None,
    ) -> _Stored | None:
        # No lock: nobody knows these ids before the commit.
        specs = [job.spec.model_dump(mode="json") for job in jobs]
        ours = self._dispatcher.has_room(len(jobs))
        delay = HEAD_START if ours else timedelta(0)
        stored = await tx.acceptance.store(jobs, specs, delay=delay, reserves=reserves, by=by)
        if stored is None:
            return None
        deliveries = [
            Delivery(
                Command(command_id, job.id, "start", {}, 0), _fresh_job(job, stored.created_at)
            )
            for command_id, job in zip(stored.commands, jobs, strict=True)
        ]
        return _Stored(stored.created_at, specs, deliveries if ours else [])

    def _deliver(self, stored: _Stored) -> None:
        for delivery in stored.deliveries:
            self._dispatcher.offer(delivery)

    async def _view(self, tx: Reading, job_id: str) -> str:
        return job_view(await tx.reads.job(job_id), self._settings.temporal, job_id)


async def _seen(tx: Transaction, owner: str, key: str | None, mark: str) -> list[str] | None:
    return None if key is None else await tx.idempotency.seen(owner, key, mark)


async def _remember(tx: Transaction, jobs: Sequence[NewJob], key: str | None, mark: str) -> None:
    if key is not None:
        ids = [job.id for job in jobs]
        await tx.idempotency.remember(jobs[0].owner, key, fingerprint=mark, job_ids=ids)


async def _accepted(tx: Reading, job_ids: Sequence[str]) -> BatchAccepted:
    jobs = await tx.jobs.get_many(job_ids)
    return BatchAccepted(
        jobs=tuple(AcceptedJob(id=job.id, name=job.name, state=job.state) for job in jobs)
    )


def _fresh_job(job: NewJob, created_at: datetime) -> Job:
    return Job.model_construct(
        id=job.id,
        name=job.spec.name,
        owner=job.owner,
        project=job.project,
        spec=job.spec,
        state=JobState.PENDING,
        labels=job.spec.labels,
        cost=_NOTHING,
        created_at=created_at,
        updated_at=created_at,
    )
