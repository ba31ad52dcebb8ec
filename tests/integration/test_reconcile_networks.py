"""Reconcile of networks: what they hold and no lease stands for; bills that come late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cortex.domain.leases import LeaseRef
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Usage
from cortex.domain.reconcile import FindingKind
from cortex.domain.spec import JobSpec
from cortex.domain.states import LeaseState
from cortex.embedded.simulators import SIMULATORS
from providers.base import Report, Reservation, no_report
from providers.errors import Unavailable
from providers.null import NullProvider
from providers.registry import AnyProvider
from tests.integration import reconciling
from tests.integration.conftest import Stage, StageMaker
from tests.integration.networks import Network, network
from tests.integration.reconciling import (
    findings,
    of_provider,
    running,
    strange_key,
    told,
    tuned,
)
from tests.support import eventually
from tests.support.rows import set_job, set_lease
from worker import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SPEC = JobSpec.model_validate(
    {
        "image": "busybox",
        "command": ["sleep", "600"],
        "resources": {"cpu": "500m", "memory": "256Mi"},
        "duration": "10m",
    }
)


def inner(worker: Service, provider_id: str) -> AnyProvider:
    """The provider itself, behind the one that counts its calls."""
    provider: AnyProvider = worker.fleet.get(provider_id).inner  # type: ignore[attr-defined]
    return provider


@pytest.fixture
async def nets(tmp_path: Path) -> AsyncIterator[list[Network]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(network(name, tmp_path / name)) for name in SIMULATORS
        ]


class TestSimulatedNetworks:
    """The same on all of them at once, over their own protocols."""

    async def test_orphans_are_closed_after_the_grace_and_not_before(
        self, make_stage: StageMaker, nets: list[Network]
    ) -> None:
        stage = tuned(await make_stage(**{net.provider_id: net.entry() for net in nets}))
        tuned(stage, grace="1h")
        keys = {net.name: strange_key() for net in nets}
        async with stage.worker() as worker:

            async def leak(net: Network) -> None:
                await self.opened(worker, net)
                await inner(worker, net.provider_id).submit(SPEC, keys[net.name])
                assert await net.alive() == [keys[net.name]]
                for mode in ("list", "act"):
                    (seen,) = await of_provider(stage, net.provider_id, mode)
                    assert (seen.finding.kind, seen.finding.subject) == (
                        FindingKind.ORPHAN,
                        keys[net.name],
                    )
                    assert "which Cortex has never leased" in seen.finding.message
                    assert "in the first run after" in seen.next
                assert await net.alive() == [keys[net.name]]

            await asyncio.gather(*(leak(net) for net in nets))
            assert len(await told(stage)) == len(nets)
        async with stage.database.transaction() as tx:
            await tx.connection.execute(
                text("UPDATE reconcile_findings SET first_seen_at = now() - interval '2 hours'")
            )
        async with stage.worker() as worker:

            async def close(net: Network) -> None:
                await self.opened(worker, net)

                async def gone() -> bool:
                    findings = await of_provider(stage, net.provider_id)
                    return not findings or bool(findings[0].done)

                await eventually(gone, within=40, what=f"the end of the orphan at {net.name}")
                assert not await net.alive()

            await asyncio.gather(*(close(net) for net in nets))
        closed = await findings(stage, FindingKind.ORPHAN)
        assert {finding.subject for finding in closed} == set(keys.values())
        for finding in closed:
            assert finding.closed_at is not None
            assert "released at" in finding.data["closed"]
        assert len(await told(stage)) == 2 * len(nets)

    async def test_a_network_that_is_away_or_tells_errors_closes_nothing(
        self, make_stage: StageMaker, nets: list[Network]
    ) -> None:
        stage = tuned(await make_stage(**{net.provider_id: net.entry() for net in nets}))
        async with stage.worker() as worker:

            async def story(net: Network) -> None:
                await self.opened(worker, net)
                key = strange_key()
                await inner(worker, net.provider_id).submit(SPEC, key)
                (seen,) = await of_provider(stage, net.provider_id, "tell")
                await net.faults({"match": "* *", "fault": "error_before", "times": 1_000_000})
                (scope,) = await reconciling.run(stage, net.provider_id)
                assert scope.error, net.name
                assert not scope.findings
                (still,) = [
                    finding
                    for finding in await findings(stage, FindingKind.ORPHAN, open_only=True)
                    if finding.provider_id == net.provider_id
                ]
                assert still.id == seen.finding.id
                await net.faults()

                async def gone() -> bool:
                    (scope,) = await reconciling.run(stage, net.provider_id)
                    return not scope.error and not await net.alive()

                await eventually(gone, within=40, what=f"the end of the orphan at {net.name}")

            await asyncio.gather(*(story(net) for net in nets))

    async def opened(self, worker: Service, net: Network) -> None:
        async def ready() -> bool:
            try:
                worker.fleet.get(net.provider_id)
            except Unavailable:
                return False
            return True

        await eventually(ready, what=f"{net.provider_id} open")


@pytest.fixture
async def stage(make_stage: StageMaker) -> Stage:
    return tuned(await make_stage(null={"type": "null", "run_seconds": -1}))


class TestUnknownKeys:
    async def test_are_only_told_where_another_cortex_uses_the_account(self, stage: Stage) -> None:
        tuned(stage, unknown_keys="tell")
        async with stage.worker() as worker:
            net = inner(worker, "null")
            await net.submit(SPEC, strange_key())
            job_id = await running(stage)
            for _ in range(2):
                (seen,) = await of_provider(stage, "null")
                assert seen.next == "Cortex only tells it"
            assert len(await net.owned()) == 2
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)

    async def test_are_kept_where_reconcile_is_a_dry_run(self, stage: Stage) -> None:
        tuned(stage, dry_run=True)
        async with stage.worker() as worker:
            net = inner(worker, "null")
            await net.submit(SPEC, strange_key())
            (seen,) = await of_provider(stage, "null")
            assert seen.next == "Cortex only tells it (`reconcile.dry_run`)"
            assert len(await net.owned()) == 1
            assert await told(stage) == [("reconcile.found", "orphan")]


class TestLateArrivals:
    async def test_a_prepare_that_lands_after_settle_found_nothing_is_closed(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was cancelled on our side, and the network carries it out all the same."""
        landing = asyncio.Event()
        calls: list[asyncio.Task[Reservation]] = []
        prepare = NullProvider.prepare

        async def slow(
            self: NullProvider,
            spec: JobSpec,
            key: str,
            *,
            offer: Any = None,
            report: Report = no_report,
        ) -> Reservation:
            async def land() -> Reservation:
                await landing.wait()
                return await prepare(self, spec, key, offer=offer)

            call = asyncio.create_task(land())
            calls.append(call)
            return await asyncio.shield(call)

        monkeypatch.setattr(NullProvider, "prepare", slow)
        async with stage.worker() as worker:
            job_id = await stage.submit()

            async def asked() -> bool:
                return bool(calls)

            await eventually(asked, what="prepare")
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)
            landing.set()
            await asyncio.gather(*calls)
            net = inner(worker, "null")
            (ref,) = await net.owned()
            (seen,) = await of_provider(stage, "null")
            assert (seen.finding.kind, seen.finding.subject) == (FindingKind.ORPHAN, ref.key)
            assert "whose lease Cortex has released" in seen.finding.message
            assert seen.done.startswith("released at `null`, it has cost 0")
            assert not await net.owned()
            assert not await of_provider(stage, "null")

    async def test_what_ended_and_is_merely_kept_is_no_finding(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def lost(_self: NullProvider, _ref: LeaseRef) -> None:
            """The network did not hear it."""

        async with stage.worker() as worker:
            with monkeypatch.context() as patch:
                patch.setattr(NullProvider, "forget", lost)
                job_id = await running(stage)
                await stage.client.get_workflow_handle(job_id).cancel()
                await stage.ended(job_id)
            net = inner(worker, "null")
            assert len(await net.owned()) == 1
            assert not await of_provider(stage, "null", "list")
            assert len(await net.owned()) == 1
            assert not await of_provider(stage, "null")
            assert not await net.owned()
            assert not await told(stage)


class TestLateBills:
    @pytest.fixture
    async def ended(self, stage: Stage) -> AsyncIterator[tuple[Service, str]]:
        """A worker, and the id of a job that has ended there."""
        async with stage.worker() as worker:
            job_id = await running(stage)
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)
            yield worker, job_id

    async def test_another_bill_is_told_until_it_agrees(
        self, stage: Stage, ended: tuple[Service, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, job_id = ended
        self.bills(monkeypatch, Usage(cost=Money.model_validate("7.5 USD"), final=False))
        assert not await of_provider(stage, "null")
        self.bills(monkeypatch, Usage(cost=Money.model_validate("7.5 USD"), final=True))
        for _ in range(2):
            (seen,) = await of_provider(stage, "null")
            assert (seen.finding.kind, seen.finding.subject) == (
                FindingKind.LATE_CHARGE,
                f"{job_id}-1",
            )
            assert "`null` bills 7.5 USD" in seen.finding.message
            assert "for you to judge" in seen.next
        async with stage.database.transaction() as tx:
            lease = await tx.leases.get(f"{job_id}-1")
            charges = await self.charges(stage, job_id)
        assert lease.cost is not None
        assert [entry.amount for entry in charges] == [lease.cost]
        self.bills(monkeypatch, Usage(cost=lease.cost, final=True))
        assert not await of_provider(stage, "null")
        assert not await findings(stage, FindingKind.LATE_CHARGE, open_only=True)

    async def test_where_nothing_was_booked_it_is_booked_once(
        self, stage: Stage, ended: tuple[Service, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, job_id = ended
        async with stage.database.transaction() as tx:
            await tx.connection.execute(text("ALTER TABLE ledger DISABLE TRIGGER USER"))
            await tx.connection.execute(text("DELETE FROM ledger WHERE kind = 'charge'"))
            await tx.connection.execute(text("ALTER TABLE ledger ENABLE TRIGGER USER"))
            await set_lease(tx, f"{job_id}-1", cost=Decimal(0))
            await set_job(tx, job_id, cost=Decimal(0))
        self.bills(monkeypatch, Usage(cost=Money.model_validate("0.25 USD"), final=True))
        (seen,) = await of_provider(stage, "null")
        assert seen.done == "0.25 USD are booked"
        assert not await of_provider(stage, "null")
        (charge,) = await self.charges(stage, job_id)
        assert str(charge.amount) == "0.25 USD"
        assert "reconcile" in charge.note
        assert str((await stage.job(job_id)).cost) == "0.25 USD"

    async def charges(self, stage: Stage, job_id: str) -> Any:
        async with stage.database.transaction() as tx:
            entries = await tx.ledger.page(job_id=job_id)
        return [entry for entry in entries if entry.kind is EntryKind.CHARGE]

    def bills(self, monkeypatch: pytest.MonkeyPatch, usage: Usage) -> None:
        async def told_(_self: NullProvider, _ref: LeaseRef) -> Usage:
            return usage

        monkeypatch.setattr(NullProvider, "usage", told_)


class TestEmptyAnswers:
    async def test_an_open_lease_that_is_not_listed_is_not_lost_by_that(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with stage.worker() as worker:
            job_id = await running(stage)
            net = inner(worker, "null")

            async def nothing(_self: NullProvider) -> list[LeaseRef]:
                return []

            with monkeypatch.context() as patch:
                patch.setattr(NullProvider, "owned", nothing)
                assert not await of_provider(stage, "null")
            async with stage.database.transaction() as tx:
                lease = await tx.leases.get(f"{job_id}-1")
            assert lease.state is LeaseState.ACTIVE
            assert len(await net.owned()) == 1
            await stage.client.get_workflow_handle(job_id).cancel()
            await stage.ended(job_id)
