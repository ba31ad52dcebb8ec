"""What a settlement leaves in the lease row; and that no decision books a second charge."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cortex.db.engine import Database
from cortex.db.jobs.repository import NewJob
from cortex.domain.ids import lease_key, new_id
from cortex.domain.leases import Lease, LeaseRef, SettleStep
from cortex.domain.money import Money
from cortex.domain.money.ledger import EntryKind
from cortex.domain.offers import Offer
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState, LeaseState

USD = Money(amount=Decimal(1), currency="USD")
OFFER = Offer(provider_id="p", price_per_hour=USD)
STEP = SettleStep(step="cancel", started_at=datetime.now(UTC), tries=2, error="no answer")


async def accepted(database: Database) -> str:
    """The id of a job that waits for its placement."""
    job_id = new_id("job")
    spec = JobSpec(command=["true"])
    async with database.transaction() as tx:
        await tx.providers.declare("p", "null")
        stored = [spec.model_dump(mode="json")]
        await tx.acceptance.store([NewJob(job_id, "ann", spec)], stored, delay=timedelta(0))
    return job_id


async def held(database: Database) -> Lease:
    """A lease that is being released, of a job that is settling."""
    job_id = await accepted(database)
    key = lease_key(job_id, 1)
    async with database.transaction() as tx:
        assert await tx.steps.intend(
            job_id, key, 1, offer=OFFER, hold=USD, extension=timedelta(0), message="", events=[]
        )
        lease = await tx.leases.get(key)
        assert await tx.steps.reserve(
            lease, LeaseRef(key=key, network_id="n"), offer=OFFER, events=[]
        )
        release = await tx.steps.begin_release(
            job_id, key, settling=True, failure=None, message="", events=[]
        )
    return release.lease


async def book(database: Database, lease: Lease, amount: str, note: str) -> bool:
    async with database.statement() as tx:
        return await tx.steps.book(
            lease,
            Money(amount=Decimal(amount), currency="USD"),
            hold_currency="USD",
            usd_rate=None,
            charge=True,
            note=note,
            decided=None,
            steps=(STEP,),
            events=[],
        )


async def test_times_and_calls_are_kept(database: Database) -> None:
    lease = await held(database)
    assert lease.reserved_at is not None
    assert lease.releasing_at is not None
    assert await book(database, lease, "1", "")
    async with database.reading() as tx:
        assert (await tx.leases.get(lease.key)).settle_steps == (STEP,)


async def test_a_second_charge_changes_nothing(database: Database) -> None:
    lease = await held(database)
    assert await book(database, lease, "1.5", "the network's bill")
    assert not await book(database, lease, "99", "by hand")
    async with database.reading() as tx:
        entries = await tx.ledger.page(job_id=lease.job_id)
        cost = (await tx.jobs.get(lease.job_id)).cost
    charges = [(str(e.amount), e.note) for e in entries if e.kind is EntryKind.CHARGE]
    assert charges == [("1.5 USD", "the network's bill")]
    assert str(cost) == "1.5 USD"


async def test_a_cancelled_job_stays_so_until_the_network_confirms(database: Database) -> None:
    job_id = await accepted(database)
    key = lease_key(job_id, 1)
    async with database.transaction() as tx:
        await tx.steps.intend(
            job_id, key, 1, offer=OFFER, hold=USD, extension=timedelta(0), message="", events=[]
        )
        await tx.jobs.move(job_id, JobState.CANCELLING)
        held = await tx.steps.begin_release(
            job_id, key, settling=True, failure=None, message="", events=[]
        )
        assert held.lease.state is LeaseState.RELEASING
        assert (await tx.jobs.get(job_id)).state is JobState.CANCELLING
