"""What reconcile compares, and what it makes of it: pure rules, to be read and tested.

Three answers are told apart everywhere: there, definitely not there, and not known now. What is
not known now is `unsure`: it opens no finding and closes none.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.leases import Lease
from cortex.domain.money import Money
from cortex.domain.offers import Usage
from cortex.domain.states import JobState, LeaseState, RunState


class FindingKind(StrEnum):
    """What is wrong; stable, for programs."""

    ORPHAN = "orphan"
    """A network holds what no open lease stands for."""
    GONE_WORKFLOW = "gone_workflow"
    """A job has not ended, or holds a lease, and no workflow looks after it."""
    STALE_HOLD = "stale_hold"
    """Money is held for a lease that is released."""
    LATE_CHARGE = "late_charge"
    """A network bills something else than what was booked."""
    LOST_START = "lost_start"
    """A job was accepted and never started."""
    GONE_GROUP = "gone_group"
    """A group has not ended and no workflow looks after it."""
    SCHEDULE = "schedule"
    """A schedule is not in Temporal as it is here."""
    UNSERVED = "unserved"
    """A provider holds leases and is in no worker's settings."""


SINCE = "since"
"""In the data of a finding: since when it is so, where that is known (ISO 8601)."""

PROVIDER_KINDS = frozenset({FindingKind.ORPHAN, FindingKind.LATE_CHARGE})
"""Found by asking a network; all others by the database and Temporal."""
BOOK_KINDS = frozenset(FindingKind) - PROVIDER_KINDS


class Issue(BaseModel):
    """Something that should not be, as one run sees it."""

    model_config = ConfigDict(frozen=True)

    kind: FindingKind
    subject: str = Field(description="Lease key, or id of a job, group, schedule or provider.")
    message: str
    provider_id: str | None = None
    data: dict[str, str] = Field(default_factory=dict)


class Finding(Issue):
    """An issue with the time since when it is seen."""

    id: str
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None = None

    def due_at(self, grace: timedelta) -> datetime:
        """When something is done about it: it may be known to be older than its first sight."""
        since = self.data.get(SINCE)
        began = datetime.fromisoformat(since) if since else self.first_seen_at
        return min(began, self.first_seen_at) + grace


@dataclass
class Compared:
    """What a comparison came to."""

    issues: list[Issue] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)
    """Subjects of which nothing can be said now."""
    kept: list[str] = field(default_factory=list)
    """Lease keys that have ended, cost nothing, and are still kept by the network."""


class Fate(BaseModel):
    """How a workflow is."""

    model_config = ConfigDict(frozen=True)

    status: Literal["running", "closed", "missing"]
    how: str = ""
    """What happened to it, to be read after "its workflow"."""
    closed_at: datetime | None = None

    @property
    def data(self) -> dict[str, str]:
        """What a finding keeps of it."""
        since = {SINCE: self.closed_at.isoformat()} if self.closed_at is not None else {}
        return {"how": self.how, **since}


class CareCase(BaseModel):
    """A job that a workflow must look after: not ended, or with a lease that is not released."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    state: JobState
    open_leases: int = 0
    leased: bool = False
    """Whether it ever had a lease."""


class OpenHold(BaseModel):
    """Money that is held for a lease which is released."""

    model_config = ConfigDict(frozen=True)

    lease_key: str
    job_id: str
    provider_id: str
    held: Money


def suspects(owned: Sequence[str], states: Mapping[str, LeaseState]) -> list[str]:
    """Keys that a network lists and no open lease stands for.

    `states` has to be read after the network was asked: rows are written before it is called.
    """
    return [key for key in owned if states.get(key, LeaseState.RELEASED) is LeaseState.RELEASED]


def orphans(
    provider_id: str,
    keys: Sequence[str],
    states: Mapping[str, LeaseState],
    runs: Mapping[str, RunState],
) -> Compared:
    """Which suspects are orphans. `runs`: what the network says of each, where it says something.

    A released lease that the network merely keeps (logs, a stopped container) is no orphan.
    """
    compared = Compared()
    for key in keys:
        run = runs.get(key)
        if key not in states:
            how = f" ({run.value})" if run is not None else ""
            message = (
                f"`{provider_id}` holds `{key}`{how}, which Cortex has never leased: another "
                "Cortex on this account, or a database that was set back"
            )
            compared.issues.append(_orphan(provider_id, key, message, "unknown"))
        elif run is None:
            compared.unsure.add(key)
        elif run.final:
            compared.kept.append(key)
        else:
            message = (
                f"`{provider_id}` holds `{key}` ({run.value}), whose lease Cortex has released: "
                "a call that was given up has arrived late"
            )
            compared.issues.append(_orphan(provider_id, key, message, "released"))
    return compared


def _orphan(provider_id: str, key: str, message: str, lease: str) -> Issue:
    return Issue(
        kind=FindingKind.ORPHAN,
        subject=key,
        provider_id=provider_id,
        message=message,
        data={"lease": lease},
    )


def forsaken(cases: Sequence[CareCase], fates: Mapping[str, Fate]) -> list[Issue]:
    """Jobs that no workflow looks after; one without a known fate is left out."""
    issues: list[Issue] = []
    for case in cases:
        fate = fates.get(case.job_id)
        if fate is None or fate.status == "running":
            continue
        never = case.state is JobState.PENDING and not case.leased and fate.status == "missing"
        kind = FindingKind.LOST_START if never else FindingKind.GONE_WORKFLOW
        leases = f" and holds {_count(case.open_leases, 'lease')}" if case.open_leases else ""
        message = (
            f"job `{case.job_id}` was accepted, and Temporal has no workflow of it"
            if never
            else f"job `{case.job_id}` is {case.state.value}{leases}; its workflow {fate.how}"
        )
        issues.append(Issue(kind=kind, subject=case.job_id, message=message, data=fate.data))
    return issues


def forsaken_groups(groups: Mapping[str, str], fates: Mapping[str, Fate]) -> list[Issue]:
    """Groups (id to state) that have not ended and that no workflow looks after."""
    return [
        Issue(
            kind=FindingKind.GONE_GROUP,
            subject=group_id,
            message=f"group `{group_id}` is {state}; its workflow {fate.how}",
            data=fate.data,
        )
        for group_id, state in groups.items()
        if (fate := fates.get(group_id)) is not None and fate.status != "running"
    ]


def stale_holds(holds: Sequence[OpenHold]) -> list[Issue]:
    """Holds that outlived their lease."""
    return [
        Issue(
            kind=FindingKind.STALE_HOLD,
            subject=hold.lease_key,
            provider_id=hold.provider_id,
            message=f"{hold.held} are held for lease `{hold.lease_key}`, which is released",
            data={"job": hold.job_id, "held": str(hold.held)},
        )
        for hold in holds
    ]


def strayed_schedules(
    told: Mapping[str, bool], known: Collection[str], open_: Collection[str]
) -> list[Issue]:
    """Schedules that Temporal does not have as they are here.

    Args:
        told: Those of which Temporal need not be told now, and whether it has their last change.
        known: Those that Temporal has.
        open_: All that are here.
    """
    messages = {
        **{
            schedule_id: f"schedule `{schedule_id}` is not in Temporal, which is to fire it"
            for schedule_id in told
            if schedule_id not in known
        },
        **{
            schedule_id: f"schedule `{schedule_id}` was changed, and Temporal was not told"
            for schedule_id, is_told in told.items()
            if not is_told and schedule_id in known
        },
        **{
            schedule_id: f"Temporal fires the schedule `{schedule_id}`, which is not there any more"
            for schedule_id in known
            if schedule_id not in open_
        },
    }
    return [
        Issue(kind=FindingKind.SCHEDULE, subject=schedule_id, message=message)
        for schedule_id, message in messages.items()
    ]


def unserved(provider_id: str, keys: Sequence[str]) -> Issue:
    """A provider that left the settings while it held leases."""
    names = ", ".join(f"`{key}`" for key in keys)
    return Issue(
        kind=FindingKind.UNSERVED,
        subject=provider_id,
        provider_id=provider_id,
        message=(
            f"`{provider_id}` is no longer in the settings of the workers, and leases of it wait "
            f"to be watched and released: {names}. Put it back, or add one of this id over the API"
        ),
        data={"leases": ",".join(keys)},
    )


def late_charge(lease: Lease, bill: Usage) -> Issue | None:
    """A final bill that is not what was booked for a released lease."""
    cost = bill.cost.billed()
    booked = lease.cost or Money.zero(cost.currency)
    same = booked == cost or not (booked.amount or cost.amount)
    if not bill.final or same or lease.state is not LeaseState.RELEASED:
        return None
    nothing = "" if lease.cost is None or not lease.cost.amount else f"{booked} are"
    return Issue(
        kind=FindingKind.LATE_CHARGE,
        subject=lease.key,
        provider_id=lease.provider_id,
        message=(
            f"`{lease.provider_id}` bills {cost} for lease `{lease.key}`, and "
            f"{nothing or 'nothing is'} booked"
        ),
        data={"job": lease.job_id, "bill": str(cost), "booked": str(booked)},
    )


def _count(number: int, what: str) -> str:
    return f"a {what}" if number == 1 else f"{number} {what}s"
