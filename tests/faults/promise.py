"""What must hold for one job at its end, read from outside, with SQL."""

from typing import Any

from sqlalchemy import text

from cortex.db.engine import Database
from cortex.domain.states import JOB_TRANSITIONS, JobState
from tests.faults.harness import Driver


async def rows(database: Database, query: str, job_id: str) -> list[Any]:
    async with database.reading() as tx:
        result = await tx.connection.execute(text(query), {"job": job_id})
        return list(result.mappings())


async def check_promise(driver: Driver, allowed: frozenset[JobState]) -> Any:
    """Raises AssertionError if anything of the promise is broken; returns the job's row."""
    database, job_id = driver.database, driver.job_id
    (job,) = await rows(database, "SELECT * FROM jobs WHERE id = :job", job_id)
    assert job["state"] in allowed, f"the job is {job['state']}: {job['message']}"
    leases = await rows(database, "SELECT * FROM leases WHERE job_id = :job", job_id)
    ledger = await rows(database, "SELECT * FROM ledger WHERE job_id = :job", job_id)
    for lease in leases:
        key = lease["key"]
        entries = [entry for entry in ledger if entry["lease_key"] == key]
        kinds = [entry["kind"] for entry in entries]
        assert lease["state"] == "released", f"{key} is {lease['state']}"
        by_hand = driver.decided.get(key)
        billed = lease["committed_at"] is not None or bool(by_hand and by_hand.amount)
        assert kinds.count("charge") == billed, f"{key}: {kinds}"
        assert kinds.count("release") == 1, f"{key}: {kinds}"
        sums = {
            kind: sum(entry["amount"] for entry in entries if entry["kind"] == kind)
            for kind in ("hold", "charge", "release")
        }
        assert sums["hold"] == sums["charge"] + sums["release"], f"{key}: {sums}"
        if by_hand is not None:
            assert sums["charge"] == by_hand.amount, f"{key}: decided otherwise: {sums}"
    assert job["cost"] == sum(entry["amount"] for entry in ledger if entry["kind"] == "charge")
    if driver.decided:  # what was settled by hand is left to reconcile
        for _ in range(2):
            await driver.reconcile()
    assert await driver.provider.owned() == [], "the network still holds something"
    await check_history(database, job_id)
    return job


async def check_history(database: Database, job_id: str) -> None:
    query = "SELECT state FROM job_status WHERE job_id = :job ORDER BY id"
    states = [JobState(row["state"]) for row in await rows(database, query, job_id)]
    assert states[0] == JobState.PENDING
    for before, after in zip(states, states[1:], strict=False):
        assert after in JOB_TRANSITIONS[before], states
    query = "SELECT type, data FROM events WHERE job_id = :job ORDER BY tx, seq"
    events = await rows(database, query, job_id)
    told = [e["data"]["state"] for e in events if e["type"] == "job.state.changed"]
    assert told == [state.value for state in states[1:] if state != JobState.CANCELLING], told
    assert events[-1]["type"] == "job.state.changed", [e["type"] for e in events]
