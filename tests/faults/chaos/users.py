"""The users of a storm: they submit and cancel, send everything twice, and never give up."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.faults.chaos.log import ActionLog

NETWORKS = ("akash-sim", "golem-sim", "nosana-sim", "render-sim")
_PATIENCE = 180.0
_SLEEPS = (0.0, 0.0, 0.5, 1.0, 3.0)


@dataclass
class Wish:
    """One job as a user wants it, and what becomes of it outside."""

    number: int
    spec: dict[str, Any]
    exit_code: int
    cancel_after: float | None
    job_id: str = ""


def wishes(count: int, seed: str, ran: Path) -> list[Wish]:
    """The jobs of a storm: most on one network, some on any; every tenth is cancelled."""
    chance = random.Random(f"{seed}-jobs")
    made = []
    for number in range(count):
        code = chance.choices((0, 1 + number % 50), (85, 15))[0]
        script = f"echo >> {ran}/{number}; sleep {chance.choice(_SLEEPS)}; exit {code}"
        anywhere = chance.random() < 0.3
        spec: dict[str, Any] = {
            "name": f"storm-{number}",
            "image": "busybox",
            "command": ["sh", "-c", script],
            "resources": {"cpu": "500m", "memory": "256Mi"},
            "duration": "20m",
            "retries": {"on_failure": int(chance.random() < 0.2), "on_lost": 3},
            "placement": {
                "providers": list(NETWORKS) if anywhere else [chance.choice(NETWORKS)],
                "timeout": "15m",
            },
        }
        late = chance.uniform(0, 12) if chance.random() < 0.1 else None
        made.append(Wish(number, spec, code, late))
    return made


@dataclass
class Users:
    """All of them. `unfinished` tells how many jobs the system is working on now."""

    base_url: str
    api_key: str
    seed: str
    log: ActionLog
    unfinished: Callable[[], Awaitable[int]]
    at_once: int
    accepted: dict[str, Wish] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    posts: int = 0
    _chance: random.Random = field(default_factory=random.Random)

    async def live(self, wanted: list[Wish]) -> None:
        """Submit all, as many at a time as are worked on at once; cancel some."""
        self._chance = random.Random(f"{self.seed}-users")
        headers = {"Authorization": f"Bearer {self.api_key}"}
        async with (
            httpx.AsyncClient(base_url=self.base_url, headers=headers, timeout=10) as http,
            asyncio.TaskGroup() as group,
        ):
            waiting = list(wanted)
            while waiting:
                room = self.at_once - await self.unfinished()
                for wish in waiting[: max(room, 0)]:
                    group.create_task(self._one(http, wish))
                del waiting[: max(room, 0)]
                await asyncio.sleep(0.5)

    async def _one(self, http: httpx.AsyncClient, wish: Wish) -> None:
        key = {"Idempotency-Key": f"{self.seed}-{wish.number}"}
        copies = self._chance.choice((2, 2, 3))
        sent = [self._post(http, "/api/v1/jobs", wish.spec, key) for _ in range(copies)]
        if self._chance.random() < 0.5:  # together, or one after the other
            answers = await asyncio.gather(*sent)
        else:
            answers = [await one for one in sent]
        ids = {answer.json()["id"] for answer in answers if answer.is_success}
        if len(ids) != 1 or not all(answer.is_success for answer in answers):
            told = [f"{answer.status_code} {answer.text[:200]}" for answer in answers]
            self.problems.append(f"{copies} same POSTs of job {wish.number} gave {ids}: {told}")
        for job_id in ids:
            wish.job_id = job_id
            self.accepted[job_id] = wish
        if wish.cancel_after is not None and wish.job_id:
            await asyncio.sleep(wish.cancel_after)
            await self._cancel(http, wish.job_id)

    async def _cancel(self, http: httpx.AsyncClient, job_id: str) -> None:
        self.log.note("cancel", job_id)
        path = f"/api/v1/jobs/{job_id}/cancel"
        sent = [self._post(http, path, {"reason": "changed my mind"}, {}) for _ in range(2)]
        for answer in await asyncio.gather(*sent):
            if not answer.is_success and answer.status_code != 409:  # it has ended already
                self.problems.append(f"cancel of {job_id}: {answer.status_code} {answer.text}")

    async def _post(
        self, http: httpx.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> httpx.Response:
        """Until there is an answer that is none of trouble."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while True:
            self.posts += 1
            try:
                answer = await http.post(path, json=body, headers=headers)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                why = f"{answer.status_code} {answer.text[:200]}"
            except httpx.TransportError as error:
                why = type(error).__name__
            if loop.time() > until:
                raise AssertionError(f"POST {path}: no answer within {_PATIENCE:g} s: {why}")
            await asyncio.sleep(0.4)
