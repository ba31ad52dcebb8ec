"""What the node that took a job costs, against what was quoted.

A quoted price does not bind at Dispersed: a creation names neither offer nor cap, and one who asked
for a GPU was given a node of six. So the price is read as soon as a node has the job, and compared
with the offer and with the job's `max_price`, which both stand in the job's description: they are
known again whoever looks, also after a crash.

No source says where the network tells the price of an assigned node. It is looked for at the run
and at the job, in the form that an offer has. Where it stands at neither, nothing can be compared.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from cortex.domain.money import format_amount
from cortex.domain.units import format_duration
from providers.base import Report
from providers.errors import NoCapacity, OutcomeUnknown, RateLimited, Unavailable
from providers.render.api import DispersedApi
from providers.render.jobs import cap_of, rate_of
from providers.render.wire import WireJob, WireRun

_WAITING = "PENDING"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two looks: the longest keeps what a dear node may cost below a minute's price."""
_TROUBLE = timedelta(minutes=1)
_SLACK = timedelta(minutes=1)


@dataclass(frozen=True)
class Assigned:
    """A job, its newest run, and what is asked for them."""

    job: WireJob
    run: WireRun | None = None

    @property
    def rate(self) -> Decimal | None:
        """USD per hour of the node; None where that is not told."""
        told = self.run.rate if self.run is not None else None
        return self.job.rate if told is None else told

    @property
    def objection(self) -> str:
        """Why the node is too dear, with both prices in plain words; empty if it is not."""
        rate = self.rate
        if rate is None:
            return ""
        quoted, cap = rate_of(self.job).amount, cap_of(self.job)
        if quoted and rate > quoted:
            limit = f"{format_amount(quoted)} USD per hour were quoted"
        elif cap is not None and rate > cap:
            limit = f"the job's `max_price` leaves {format_amount(cap)} USD per hour for it"
        else:
            return ""
        return f"the network assigned {self._node} at {format_amount(rate)} USD per hour, {limit}"

    @property
    def _node(self) -> str:
        hardware = (self.run.hardware if self.run is not None else "") or self.job.hardware
        return f"a node ({hardware})" if hardware else "a node"


def first_objection(assigned: Sequence[Assigned]) -> str:
    """Of several jobs, the first reason not to go on; empty if there is none."""
    return next((each.objection for each in assigned if each.objection), "")


class Assignment:
    """Waits until nodes have a lease's jobs, and gives up what is dearer than was quoted.

    Everything that it goes by stands at the network, so it may be begun anew after any crash.
    """

    def __init__(self, api: DispersedApi, within: timedelta) -> None:
        self._api = api
        self._within = within

    async def agreed(self, jobs: Sequence[WireJob], report: Report) -> list[Assigned]:
        """The jobs, once the first of them has a node that may be kept.

        Those of a render job get theirs one by one: what comes later is met by `too_dear`.

        Raises:
            NoCapacity: no node took one in time, or one that is too dear did. Nothing runs on.
            OutcomeUnknown: the network cannot be asked for a while.
        """
        loop = asyncio.get_running_loop()
        began = heard = loop.time()
        pause, uuids = _FIRST_PAUSE, [job.uuid for job in jobs]
        while True:
            try:
                assigned = await self._look(uuids)
                heard = loop.time()
                why = self._objection(assigned, heard - began)
                if why is None:
                    return assigned
                if why:
                    await self._end(assigned, why)
                    raise NoCapacity(f"{why}; the job was cancelled there")
            except (Unavailable, RateLimited, OutcomeUnknown) as error:
                if loop.time() - heard > _TROUBLE.total_seconds():
                    raise OutcomeUnknown(str(error)) from error
            if pause == _LONGEST_PAUSE:
                await report("waiting for a node to take the job")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _objection(self, assigned: Sequence[Assigned], waited: float) -> str | None:
        """Why it is given up; empty: nothing can be said yet; None: it may go on."""
        if not assigned or any(each.job.status != _WAITING for each in assigned):
            return first_objection(assigned) or _never_taken(assigned) or None
        if waited > (self._within + _SLACK).total_seconds():
            return f"no node took the job within {format_duration(self._within)}"
        return ""

    async def _look(self, uuids: Sequence[str]) -> list[Assigned]:
        jobs = await self._api.jobs(uuids)
        seen = [jobs[uuid] for uuid in uuids if uuid in jobs]
        runs = await asyncio.gather(*(self._run(job) for job in seen))
        return [Assigned(job, run) for job, run in zip(seen, runs, strict=True)]

    async def _run(self, job: WireJob) -> WireRun | None:
        if job.status == _WAITING:
            return None
        return await self._api.newest_run(job.uuid, logs=False)

    async def _end(self, assigned: Sequence[Assigned], why: str) -> None:
        """Cancel what lives and see that it has ended."""
        live = [each.job for each in assigned if not each.job.over]
        for job in live:
            if job.status != "CANCELLING":
                await self._api.cancel(job.uuid, why)
        until = asyncio.get_running_loop().time() + _TROUBLE.total_seconds()
        while live:
            if asyncio.get_running_loop().time() > until:
                raise Unavailable("Dispersed has not confirmed the end of the job yet")
            await asyncio.sleep(_FIRST_PAUSE)
            now = await self._api.jobs([job.uuid for job in live])
            live = [job for job in now.values() if not job.over]


def _never_taken(assigned: Sequence[Assigned]) -> str:
    """Whether the network gave a job up that no node had taken: another offer may still do."""
    if any(each.job.status == "FAILED" and each.run is None for each in assigned):
        return "no node took the job"
    return ""
