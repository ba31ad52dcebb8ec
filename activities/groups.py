"""Steps of a group: carry out what the planner says, and tell a member what its gang decided."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity

from activities.contracts import AdvanceInput, AdvanceResult, VerdictInput, VerdictResult, WakeInput
from activities.events import state_event
from activities.runtime.errors import relentless
from cortex.db.engine import Database, Transaction
from cortex.db.outbox.commands import CommandKind
from cortex.domain.events import EventType, NewEvent
from cortex.domain.groups.plan import Ending, Plan, plan
from cortex.domain.groups.rules import GroupRules
from cortex.domain.groups.snapshot import Snapshot
from cortex.domain.groups.states import GroupState
from cortex.domain.groups.undo import Undo
from cortex.domain.states import JobState
from cortex.services.groups.control import request_cancel

# Members whose locks one transaction takes: more would keep too many others waiting.
_AT_ONCE = 100
_ROUNDS = 50
_LARGE = 20
_GATHER = timedelta(seconds=1)
_LEAST = timedelta(milliseconds=100)
_NO_DECISION = "no decision about the group came in time; without one, nothing of it is committed"


class GroupActivities:
    def __init__(self, database: Database) -> None:
        self._database = database

    @relentless
    async def advance(self, asked: AdvanceInput) -> AdvanceResult:
        """Do all that is to be done now. Each round is one transaction, and whole by itself."""
        message = ""
        for _ in range(_ROUNDS):
            async with self._database.transaction() as tx:
                await tx.groups.lock(asked.group_id)
                if asked.cancel:
                    await request_cancel(tx, asked.group_id, asked.cancel)
                snapshot = await tx.groups.snapshot(asked.group_id)
                if snapshot is None:
                    return AdvanceResult(
                        state=GroupState.FAILED, message="there is no such group", done=True
                    )
                group, now = snapshot
                made = plan(group, now)
                again = await _carry_out(tx, group, made)
            message = made.end.message if made.end else message
            if not again:
                return _result(group, made, now, message)
        return AdvanceResult(state=group.state, wait=_LEAST)

    @relentless
    async def verdict(self, lease: VerdictInput) -> VerdictResult:
        """What a reserved member is to do. Without a decision in time, decides to abort."""
        async with self._database.reading() as tx:
            standing = await tx.groups.standing(lease.job_id)
        if standing is None:
            return VerdictResult(answer="abort", reason="its group is not there any more")
        if standing.decision is None:
            if standing.until is None or standing.now < standing.until:
                left = timedelta(minutes=1)
                if standing.until is not None:
                    left = min(left, max(standing.until - standing.now, _LEAST))
                return VerdictResult(answer="wait", wait=left)
            async with self._database.transaction() as tx:
                await tx.groups.lock(standing.group_id)
                if await tx.groups.presume_abort(standing, _NO_DECISION):
                    event = decided(standing.group_id, standing.gang, "aborted", _NO_DECISION)
                    await tx.events.add_many([event])
                    await tx.groups.nudge(standing.group_id)
                # Whoever was first has decided.
                standing = await tx.groups.standing(lease.job_id)
            if standing is None or standing.decision is None:
                return VerdictResult(answer="wait", wait=_LEAST)
        if standing.decision == "committed":
            return VerdictResult(answer="commit")
        return VerdictResult(answer="abort", reason=standing.reason)

    @activity.defn
    async def wake_group(self, woken: WakeInput) -> None:
        """For a member that cannot reach its group's workflow: have it started again."""
        async with self._database.transaction() as tx:
            await tx.groups.nudge(woken.group_id)


async def _carry_out(tx: Transaction, group: Snapshot, made: Plan) -> bool:
    """Write what the plan says; True if there may be more to do at once."""
    for decision in made.decisions:
        if not await tx.groups.decide(group.id, decision):
            return True  # somebody else decided, or a member changed: look again
        event = decided(group.id, decision.gang, decision.decided, decision.reason)
        await tx.events.add_many([event])
        await _command(tx, decision.members, "nudge", {})
    endings = [*made.close, *made.cancel][:_AT_ONCE]
    if endings:
        await tx.groups.lock_members([ending.member for ending in endings])
        held = {ending.member for ending in made.close}
        await _close(tx, group.id, [ending for ending in endings if ending.member in held])
        await _stop(tx, group.id, [ending for ending in endings if ending.member not in held])
    for start in made.starts:
        let_go = await tx.groups.start(group.id, start)
        await _command(tx, let_go, "start", start_payload(group.id, group.rules))
    await _move(tx, group.id, made)
    return made.acts or len(made.close) + len(made.cancel) > _AT_ONCE


async def _close(tx: Transaction, group_id: str, endings: Iterable[Ending]) -> None:
    for undo, ids in _by_undo(endings).items():
        passed = await tx.groups.close(ids, undo.cause, undo.message)
        events = [_ended(job_id, state, undo, group_id) for job_id, state in passed]
        if events:
            await tx.events.add_many(events)


async def _stop(tx: Transaction, group_id: str, endings: Iterable[Ending]) -> None:
    for undo, ids in _by_undo(endings).items():
        stopped = await tx.groups.stop(ids, undo.message)
        asked = {"reason": undo.message, "cause": undo.cause.value}
        events: list[NewEvent] = []
        for job_id in stopped:
            data = {**asked, "group_id": group_id}
            events.append(NewEvent.of_job(EventType.JOB_CANCEL_REQUESTED, job_id, data))
            events.append(state_event(job_id, JobState.CANCELLING, message=undo.message))
        if events:
            await tx.events.add_many(events)
        await _command(tx, stopped, "cancel", asked)


async def _move(tx: Transaction, group_id: str, made: Plan) -> None:
    if made.end is not None:
        state, message, reason = made.end.state, made.end.message, made.end.reason
        moved = await tx.groups.finish(group_id, state, reason=reason, message=message)
    elif made.enter is not None:
        state, message, reason = made.enter, made.message, None
        moved = await tx.groups.move(group_id, state, message)
    else:
        return
    if moved:
        data: dict[str, object] = {"group_id": group_id, "state": state.value, "message": message}
        if reason is not None:
            data["reason"] = reason.value
        await tx.events.add_many([NewEvent.of_group(EventType.GROUP_STATE_CHANGED, group_id, data)])


async def _command(
    tx: Transaction, job_ids: Iterable[str], kind: CommandKind, payload: dict[str, Any]
) -> None:
    commands = [(job_id, kind, payload) for job_id in job_ids]
    if commands:
        await tx.commands.add_many(commands)


def start_payload(group_id: str, rules: GroupRules) -> dict[str, Any]:
    """What the workflow of a member is told about its group; goes with its start command."""
    payload: dict[str, Any] = {"group_id": group_id, "gang": rules.atomic}
    if rules.atomic:
        payload["commit_failure"] = "end" if rules.commit_failure == "compensate" else "retry"
    if rules.on_lost == "end_all":
        payload["retries_on_lost"] = 0
    return payload


def decided(group_id: str, gang: int, decision: str, reason: str) -> NewEvent:
    """The event of a gang's decision."""
    data = {"group_id": group_id, "gang": gang, "decision": decision, "reason": reason}
    return NewEvent.of_group(EventType.GROUP_GANG_DECIDED, group_id, data)


def _by_undo(endings: Iterable[Ending]) -> dict[Undo, list[str]]:
    by_undo: dict[Undo, list[str]] = {}
    for ending in endings:
        by_undo.setdefault(ending.undo, []).append(ending.member)
    return by_undo


def _ended(job_id: str, state: JobState, undo: Undo, group_id: str) -> NewEvent:
    data: dict[str, object] = {"message": undo.message, "group_id": group_id}
    if state.terminal:
        data |= {"reason": undo.cause.value, "exit_code": None}
    return state_event(job_id, state, **data)


def _result(group: Snapshot, made: Plan, now: datetime, message: str) -> AdvanceResult:
    state = made.enter or group.state
    if made.wake_at is None:
        return AdvanceResult(state=state, done=True, message=message)
    large = len(group.members) > _LARGE
    return AdvanceResult(
        state=state,
        wait=max(made.wake_at - now, _LEAST),
        pause=_GATHER if large else timedelta(0),
    )
