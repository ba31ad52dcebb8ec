"""What the model knows: the rows, the network, the durable workflow, and processes that may die.

Everything is a small immutable value. What a crash leaves is what stands in the rows, at the
network and in the workflow's history; `Try` is what it takes away.
"""

from enum import StrEnum
from typing import Any, Literal, NamedTuple

from cortex.domain.groups.snapshot import Decided
from cortex.domain.groups.states import GroupState
from cortex.domain.jobs import Reason
from cortex.domain.states import JobState, LeaseState, RunState


class Mutation(StrEnum):
    """A protocol that is wrong in one place: the checker must find each of them."""

    NONE = "none"
    NO_INTENT = "no_intent"
    """The lease row is written after the network has answered, not before it is asked."""
    BLIND_RETRY = "blind_retry"
    """After an unknown outcome, or a crash, the call is made again without asking `find`."""
    NO_DECISION = "no_decision"
    """A member commits as soon as it is reserved."""
    ABORT_AFTER_COMMIT = "abort_after_commit"
    """A member whose patience ends writes `aborted` whatever is written there."""
    UNCONFIRMED_RELEASE = "unconfirmed_release"
    """The lease counts as released before the network said so."""
    UNGUARDED_CHARGE = "unguarded_charge"
    """The charge is booked without looking whether it is there."""
    STUCK_HELD = "stuck_held"
    """Members that will never be started are left as they are."""


class Setup(NamedTuple):
    """What is explored."""

    gangs: tuple[int, ...] = (0,)
    """The gang of each member; a member of gang n needs all of gang n - 1."""
    grouped: bool = False
    apart: bool = False
    """A job without a gang reserves and commits in two steps, as its history says."""
    trouble: int = 1
    """Crashes, stalls and lost or refused calls, together."""
    losses: int = 0
    """Leases that the network loses by itself."""
    late: int = 0
    """Prepares that were given up and land later, at any time."""
    cancels: int = 0
    retries_on_failure: int = 0
    retries_on_lost: int = 1
    commit_failure: str = "compensate"
    idempotent: bool = False
    """The network knows the key: a second prepare gives what the first has made."""
    stalls: bool = True
    """A try that is thought dead may go on beside its successor."""
    offers: int = 2
    """Attempts for which somebody offers; after that there is no capacity."""
    fails: bool = True
    """Commands may exit non-zero."""
    reconcile: bool = True
    mutation: Mutation = Mutation.NONE

    @property
    def one_step(self) -> bool:
        """A job reserves and commits in one activity, `acquire`."""
        return not self.grouped and not self.apart


class Lease(NamedTuple):
    """A row of `leases`, with its entries in the ledger. No state: it is not written yet."""

    state: LeaseState | None = LeaseState.INTENDED
    ref: bool = False
    committed: bool = False
    run: RunState | None = None
    code: int | None = None
    booked: bool = False
    charges: int = 0

    @property
    def open(self) -> bool:
        return self.state not in (None, LeaseState.RELEASED)


Made = Literal["", "mine", "stray"]
"""What a try holds: what the row stands for (or will), or something else under the same key."""


class Net(NamedTuple):
    """What the network holds under one key."""

    mine: Literal["", "reserved", "live", "over", "gone"] = ""
    """What the lease row stands for, or the first there was. `over`: its command has ended."""
    strays: int = 0
    """More of it: a network that is not idempotent makes one for each call."""
    code: int | None = None
    starts: int = 0
    flying: bool = False
    """A prepare that its caller has given up is on its way."""

    @property
    def alive(self) -> int:
        return self.strays + (self.mine in ("reserved", "live"))

    @property
    def found(self) -> Made:
        """What `find(key)` gives."""
        if self.mine in ("reserved", "live"):
            return "mine"
        return "stray" if self.strays else ""

    def prepared(self, *, idempotent: bool) -> tuple["Net", Made]:
        """After a prepare, and what its caller holds then."""
        if not self.mine:
            return self._replace(mine="reserved"), "mine"
        if idempotent and self.mine != "gone":
            return self, "mine"
        return self._replace(strays=self.strays + 1), "stray"

    def chosen(self, made: Made) -> "Net":
        """The row is written: it stands for this one."""
        if made != "stray":
            return self
        others = self.strays - 1 + (self.mine == "reserved")
        return self._replace(mine="reserved", strays=others)

    def closed(self, made: Made) -> "Net":
        """After one `cancel(ref)`: what the reference stands for is gone, and nothing else."""
        if made == "stray":
            return self._replace(strays=self.strays - 1)
        return self._replace(mine="gone") if self.mine in ("reserved", "live") else self


class Try(NamedTuple):
    """One try of a step in a worker: lost when that dies."""

    step: str
    lease: int
    at: str
    again: bool = False
    """Not the first try: the network is asked before anything is made."""
    made: Made = ""
    outcome: JobState | None = None
    """What settle was ordered to end the job as; None: to place it again."""
    why: Reason | None = None


class At(StrEnum):
    """Where the workflow is."""

    NEW = "new"
    PLACE = "place"
    PREPARE = "prepare"
    VOTE = "vote"
    COMMIT = "commit"
    WATCH = "watch"
    SETTLE = "settle"
    FINISH = "finish"
    DONE = "done"


class ModelMember(NamedTuple):
    """One job: its rows, its leases at the network, its workflow, its processes."""

    gang: int = 0
    job: JobState = JobState.PENDING
    reason: Reason | None = None
    held: bool = False
    asked: bool = False
    leases: tuple[Lease, ...] = ()
    nets: tuple[Net, ...] = ()
    at: At = At.NEW
    outcome: JobState | None = None
    """Settle with this end; None: place it again."""
    why: Reason | None = None
    start: bool = False
    """A start command that Temporal was not told yet; `told`: the same of a cancel."""
    told: Reason | None = None
    stop: Reason | None = None
    losses: int = 0
    failures: int = 0
    agreed: bool = False
    was_live: bool = False
    now: Try | None = None
    zombie: Try | None = None
    """An earlier try that was thought dead and is not."""

    @property
    def lease(self) -> Lease:
        return self.leases[-1]

    def with_lease(self, index: int, **changes: Any) -> "ModelMember":
        rows = list(self.leases)
        rows[index] = rows[index]._replace(**changes)
        return self._replace(leases=tuple(rows))

    def with_net(self, index: int, net: Net) -> "ModelMember":
        nets = list(self.nets)
        nets[index] = net
        return self._replace(nets=tuple(nets))

    @property
    def idle(self) -> bool:
        """Nothing of it goes on anywhere: no process, no message, no call under way."""
        flying = any(net.flying for net in self.nets)
        waits = self.start and not self.job.terminal
        return self.now is None and self.zombie is None and not flying and not waits


class GangRow(NamedTuple):
    decision: Decided | None = None
    started: bool = False
    clock: int = 0
    """0: in time; 1: its deadline has passed; 2: and the grace of its members too."""


class Group(NamedTuple):
    state: GroupState = GroupState.PENDING
    cancel: bool = False
    gangs: tuple[GangRow, ...] = ()


class Left(NamedTuple):
    """How much may still go wrong."""

    trouble: int
    losses: int
    late: int
    cancels: int
