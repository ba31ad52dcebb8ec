"""What is said about a lease: from its agreement, its activity, and a look at the job."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from cortex.domain.leases import LeaseRef, LeaseSnapshot
from cortex.domain.states import RunState
from providers.errors import Unavailable
from providers.golem.activities import Activities, UnitGone, ran
from providers.golem.agreements import Agreements, End, expired
from providers.golem.config import GolemConfig
from providers.golem.glance import Glance, Viewer
from providers.golem.launch import deploy_overdue, fresh
from providers.golem.wire import Agreement
from providers.registries import pull_trouble

_SECOND_LOOK = 1.0
_ON_THE_WAY = ("New", "Initialized", "Deployed")


@dataclass(frozen=True)
class Snapshots:
    """Reads the states of leases."""

    config: GolemConfig
    agreements: Agreements
    activities: Activities
    viewer: Viewer

    async def of(self, ref: LeaseRef) -> LeaseSnapshot:
        """One lease.

        Raises:
            Unavailable: nothing can be said about it now.
        """
        agreement = await self.agreements.get(ref.network_id)
        if agreement is None:
            return lost(ref, "the yagna daemon knows no such agreement")
        if agreement.state in ("Proposal", "Pending"):
            return LeaseSnapshot(key=ref.key, state=RunState.STARTING, message="not approved yet")
        if agreement.state != "Approved":
            return await self._ended(ref, agreement)
        there = await self.activities.of(agreement.agreement_id)
        if not there:
            if expired(agreement):
                return lost(ref, "the agreement has expired")
            return LeaseSnapshot(key=ref.key, state=RunState.STARTING, message="reserved")
        return await self._in_activity(ref, agreement, there[-1])

    async def _in_activity(
        self, ref: LeaseRef, agreement: Agreement, activity_id: str
    ) -> LeaseSnapshot:
        state = await self.activities.state(activity_id)
        if state is None or state.state[0] == "Terminated":
            why = (state.error_message or state.reason) if state is not None else ""
            return lost(ref, f"the provider ended the activity{f': {why}' if why else ''}")
        if fresh(state):
            why = await self._deployment_failed(activity_id)
            if why is not None or deploy_overdue(agreement, self.config):
                gone = lost(ref, f"the provider could not deploy the image{why or ''}")
                # Where its package is not to be found, no provider of Golem can get it.
                missing = why is not None and pull_trouble(why) == "missing"
                return gone.model_copy(update={"image": "unpullable"}) if missing else gone
        if state.state[0] != "Ready":
            if expired(agreement):
                return lost(ref, "the agreement has expired")
            if deploy_overdue(agreement, self.config) and state.state[0] != "Unresponsive":
                return lost(ref, "the provider took too long to deploy the image")
            what = "deploying the image"
            if state.state[0] not in _ON_THE_WAY:
                what = f"the provider's activity is {state.state[0].lower()}"
            return LeaseSnapshot(key=ref.key, state=RunState.STARTING, message=what)
        try:
            return told(ref, await self._seen(activity_id, ref.key))
        except UnitGone as error:
            return lost(ref, f"the provider no longer runs it ({error})")
        except Unavailable:
            if expired(agreement):
                return lost(ref, "the agreement has expired")
            raise

    async def _seen(self, activity_id: str, key: str) -> Glance:
        """A look at the job. It is not given up for one moment in which nobody was there."""
        try:
            return await self.viewer.state(activity_id, key)
        except UnitGone:
            await asyncio.sleep(_SECOND_LOOK)
            return await self.viewer.state(activity_id, key)

    async def _deployment_failed(self, activity_id: str) -> str | None:
        """Why the starting batch failed, as far as this process knows the batch."""
        batch = self.activities.first_batch.get(activity_id)
        if not batch:
            return None
        try:
            results = await self.activities.results(activity_id, batch, 0.1)
        except UnitGone:
            return None
        failed = [result for result in results.values() if result.result == "Error"]
        return f": {ran(failed[0]).message}" if failed else None

    async def _ended(self, ref: LeaseRef, agreement: Agreement) -> LeaseSnapshot:
        said = await self.agreements.termination(agreement.agreement_id)
        end = End.of(said.reason if said is not None else None)
        if end.exit_code is not None:
            return LeaseSnapshot(
                key=ref.key,
                state=RunState.EXITED,
                exit_code=end.exit_code,
                started_at=end.started_at,
                finished_at=end.finished_at,
            )
        why = end.message or agreement.state.lower()
        return LeaseSnapshot(
            key=ref.key,
            state=RunState.LOST,
            message=f"the agreement has ended: {why}",
            started_at=end.started_at,
            finished_at=end.finished_at or (said.event_date if said is not None else None),
        )

    async def end(self, ref: LeaseRef, agreement: Agreement) -> End:
        """How the run ended, as far as it can be learned before the lease is given up."""
        try:
            now = await self.of(ref)
        except Unavailable:
            return End(message="cancelled")
        if now.state is RunState.EXITED:
            return End(now.exit_code, now.started_at, now.finished_at)
        if now.state is RunState.LOST:
            return End(None, now.started_at, datetime.now(UTC), now.message)
        return End(None, now.started_at, datetime.now(UTC), "cancelled")


def told(ref: LeaseRef, seen: Glance) -> LeaseSnapshot:
    """A snapshot from a look at the job."""
    if seen.life == "ended" and seen.result is not None:
        return LeaseSnapshot(
            key=ref.key,
            state=RunState.EXITED,
            exit_code=seen.result.exit_code,
            message=seen.result.message,
            started_at=seen.started_at,
            finished_at=seen.result.finished_at,
        )
    if seen.life == "gone":
        return lost(ref, "the job's own process was killed at the provider")
    if seen.life == "live" and seen.started_at is not None:
        return LeaseSnapshot(key=ref.key, state=RunState.RUNNING, started_at=seen.started_at)
    return LeaseSnapshot(key=ref.key, state=RunState.STARTING)


def lost(ref: LeaseRef, message: str) -> LeaseSnapshot:
    return LeaseSnapshot(key=ref.key, state=RunState.LOST, message=message[:300])
