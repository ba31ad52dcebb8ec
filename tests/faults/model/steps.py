"""The steps of a job as workers carry them out: one effect at a time, so that a crash fits between.

Each function follows its activity (`activities/jobs/leasing.py`, `activities/jobs/settlement.py`)
from one effect to the next. Guards are those of `cortex.domain.states`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from cortex.domain.states import JobState, LeaseState, RunState, job_sources, lease_sources
from tests.faults.model.state import ModelMember, Mutation, Setup, Try

_S = LeaseState
COMMITS = "commit: "
"""Before the place of a try of `acquire` that has its reservation: no stop interrupts it."""


class Move(NamedTuple):
    """One effect of a try: what it leaves, and where the try goes on."""

    what: str
    after: ModelMember
    goes_on: Try | None
    result: str = ""
    """Of a try that is over: `ok`, `refused`, `released` (the lease is not to be used), or
    `stopped` (a cancel came between the phases).
    """
    trouble: int = 0
    late: int = 0


def moves(member: ModelMember, run: Try, setup: Setup) -> Iterator[Move]:
    """What this try may do next, and what the network may answer."""
    ways = {"acquire": _acquire, "prepare": _prepare, "commit": _commit, "settle": _settle}
    yield from ways[run.step](member, run, setup)


def _acquire(m: ModelMember, run: Try, setup: Setup) -> Iterator[Move]:
    """Both phases in one try; where the second one stands is told by `COMMITS`."""
    lease = m.leases[run.lease]
    if run.at.startswith(COMMITS):
        yield from _acquire_commits(m, run, setup)
    elif run.at == "begin" and lease.committed:
        yield Move("reads that it is live", m, None, "ok")
    else:
        for move in _prepare(m, run, setup):
            if move.goes_on is not None:
                yield move._replace(goes_on=move.goes_on._replace(step="acquire"))
            elif move.result == "ok":
                commits = Try("acquire", run.lease, f"{COMMITS}begin", again=run.again)
                yield move._replace(goes_on=commits, result="")
            else:
                yield move


def _acquire_commits(m: ModelMember, run: Try, setup: Setup) -> Iterator[Move]:
    at = run.at.removeprefix(COMMITS)
    reserved = m.leases[run.lease].state is _S.RESERVED
    if at == "begin" and reserved and m.job is JobState.CANCELLING:
        yield Move("reads that the job is cancelled", m, None, "stopped")
        return
    for move in _commit(m, run._replace(step="commit", at=at), setup):
        on = move.goes_on
        if on is not None and on.at == "begin":  # a new try of the whole step
            on = on._replace(step="acquire")
        elif on is not None:
            on = on._replace(step="acquire", at=COMMITS + on.at)
        yield move._replace(goes_on=on)


def _prepare(m: ModelMember, run: Try, setup: Setup) -> Iterator[Move]:
    i, blind = run.lease, setup.mutation is Mutation.BLIND_RETRY
    lease, net = m.leases[i], m.nets[i]
    if run.at == "begin":
        if m.job in job_sources(JobState.DEPLOYING) and lease.state in (None, _S.INTENDED):
            m = m._replace(job=JobState.DEPLOYING)
        if lease.state is _S.RESERVED:
            yield Move("reads that it is reserved", m, None, "ok")
        elif lease.state not in (None, _S.INTENDED):
            yield Move("reads that it is released", m, None, "released")
        else:
            asks = run.again and not blind
            yield Move("begins", m, run._replace(at="find" if asks else "call"))
    elif run.at == "find":
        at = "write" if net.found else "call"
        yield Move("asks the network", m, run._replace(at=at, made=net.found))
    elif run.at == "call":
        there, holds = net.prepared(idempotent=setup.idempotent)
        made = m.with_net(i, there)
        unsure = run._replace(at="call" if blind else "ask")
        yield Move("reserves", made, run._replace(at="write", made=holds))
        yield Move("is refused", m, None, "refused", trouble=1)
        yield Move("asks in vain", m, unsure, trouble=1)
        yield Move("reserves, and the answer is lost", made, unsure, trouble=1)
        late = m.with_net(i, net._replace(flying=True))
        yield Move("asks, and its call is held up", late, unsure, trouble=1, late=1)
    elif run.at == "ask":
        if net.found:
            yield Move("finds it", m, run._replace(at="write", made=net.found))
        else:
            yield Move("finds nothing and tries again", m, Try("prepare", i, "begin", again=True))
    elif run.at == "write":
        if lease.state is None or lease.state in lease_sources(_S.RESERVED):
            m = m.with_net(i, net.chosen(run.made)).with_lease(i, state=_S.RESERVED, ref=True)
            yield Move("writes it down", m, None, "ok")
        else:
            yield Move("may not write it down", m, run._replace(at="late"))
    else:
        yield from _too_late(m, run)


def _too_late(m: ModelMember, run: Try) -> Iterator[Move]:
    """Another try, or the settlement, was faster: what was made must not live."""
    lease, net = m.leases[run.lease], m.nets[run.lease]
    if run.at == "late":
        if lease.state in (_S.RELEASING, _S.RELEASED):
            yield Move("reads that it is released", m, run._replace(at="undo"))
        else:
            yield Move("reads that another try was faster", m, None, "ok")
    else:
        m = m.with_net(run.lease, net.closed(run.made))
        yield Move("undoes it", m, None, "released")


def _commit(m: ModelMember, run: Try, setup: Setup) -> Iterator[Move]:
    i, blind = run.lease, setup.mutation is Mutation.BLIND_RETRY
    lease, net = m.leases[i], m.nets[i]
    if run.at == "begin":
        if lease.committed:
            yield Move("reads that it is live", m, None, "ok")
        elif lease.state is not _S.RESERVED:
            yield Move("reads that it is released", m, None, "released")
        else:
            yield Move("begins", m, run._replace(at="call"))
    elif run.at == "call":
        if net.mine == "gone":
            yield Move("hears that it is gone", m, None, "refused")
            return
        live = m
        run = run._replace(made="mine")
        if net.mine == "reserved":
            live = m.with_net(i, net._replace(mine="live", starts=net.starts + 1))
        unsure = run._replace(at="call" if blind else "ask")
        yield Move("starts it", live, run._replace(at="write"))
        yield Move("is refused", m, None, "refused", trouble=1)
        yield Move("asks in vain", m, unsure, trouble=1)
        yield Move("starts it, and the answer is lost", live, unsure, trouble=1)
    elif run.at == "ask":
        if net.mine in ("live", "over"):
            yield Move("finds it live", m, run._replace(at="write"))
        else:
            yield Move("finds it not live", m, Try("commit", i, "begin", again=True))
    elif run.at == "write":
        if lease.state in lease_sources(_S.ACTIVE):
            done = m.with_lease(i, state=_S.ACTIVE, committed=True)
            if m.job in job_sources(JobState.RUNNING):
                done = done._replace(job=JobState.RUNNING)
            yield Move("writes that it is live", done, None, "ok")
        else:
            yield Move("may not write it down", m, run._replace(at="late"))
    else:
        yield from _too_late(m, run)


def _settle(m: ModelMember, run: Try, setup: Setup) -> Iterator[Move]:
    i = run.lease
    lease, net = m.leases[i], m.nets[i]
    if run.at == "begin":
        if lease.state in lease_sources(_S.RELEASING):
            m = m.with_lease(i, state=_S.RELEASING)
        if run.outcome is not None and m.job in job_sources(JobState.SETTLING):
            m = m._replace(job=JobState.SETTLING)
        if lease.state is _S.RELEASED:
            yield Move("reads that it is released", m, run._replace(at="close"))
        elif lease.booked and setup.mutation is not Mutation.UNGUARDED_CHARGE:
            yield Move("reads that it is booked", m, run._replace(at="close"))
        else:
            yield Move("begins", m, run._replace(at="cancel" if lease.ref else "find"))
    elif run.at == "find":
        at = "cancel" if net.found else "book"
        yield Move("asks the network", m, run._replace(at=at, made=net.found))
    elif run.at == "cancel":
        if setup.mutation is Mutation.UNCONFIRMED_RELEASE:
            yield Move("asks for the release", m, run._replace(at="book"), trouble=1)
        done = m.with_net(i, net.closed("mine" if lease.ref else run.made))
        yield Move("releases", done, run._replace(at="book"))
        yield Move(
            "releases, and the answer is lost",
            done,
            run._replace(at="begin", again=True, made=""),
            trouble=1,
        )
    elif run.at == "book":
        unguarded = setup.mutation is Mutation.UNGUARDED_CHARGE
        if not lease.booked or unguarded:
            charges = lease.charges + lease.committed
            m = m.with_lease(i, booked=True, charges=charges)
        yield Move("books", m, run._replace(at="close"))
    else:
        yield _close(m, run)


def _close(m: ModelMember, run: Try) -> Move:
    moved = m.leases[run.lease].state in lease_sources(_S.RELEASED)
    if moved:
        m = m.with_lease(run.lease, state=_S.RELEASED)
    if run.outcome is not None:
        if m.job is JobState.SETTLING:
            m = m._replace(job=run.outcome, reason=run.why)
    elif moved and m.job in job_sources(JobState.PLACING):
        m = m._replace(job=JobState.PLACING)
    return Move("closes", m, None, "ok")


def recorded(m: ModelMember) -> ModelMember | None:
    """The monitor's pass over this job: what the network says of a lease that is active."""
    if not m.leases or m.lease.state is not _S.ACTIVE or m.lease.run is not None:
        return None
    net, last = m.nets[-1], len(m.leases) - 1
    if net.code is not None:
        return m.with_lease(last, state=_S.ENDED, run=RunState.EXITED, code=net.code)
    if net.mine == "gone":
        return m.with_lease(last, state=_S.LOST, run=RunState.LOST)
    return None
