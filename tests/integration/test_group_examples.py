"""The examples of groups, from the API to real processes: what users see at the end."""

from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import SecretStr
from sqlalchemy import text

from cortex.domain.states import JobState
from cortex.schemas.groups import GroupView, MemberView
from cortex.settings import ApiSettings
from tests.api.support import KEY, client_of
from tests.integration.conftest import Stage, StageMaker
from tests.support import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
GROUPS = "/api/v1/groups"
LOCAL: dict[str, Any] = {"type": "local", "stop_grace": 0.5}


def example(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return spec


class Run:
    """A group that was submitted over the API, seen as users see it."""

    def __init__(self, client: httpx.AsyncClient, group_id: str) -> None:
        self._client = client
        self.id = group_id

    async def view(self) -> GroupView:
        answer = await self._client.get(f"{GROUPS}/{self.id}", params={"limit": 1000})
        return GroupView.model_validate_json(answer.content)

    async def ended(self) -> GroupView:
        async def over() -> bool:
            return (await self.view()).state.terminal

        await eventually(over, within=50, what="the end of the group")
        return await self.view()

    async def lines(self, member: MemberView) -> list[str]:
        answer = await self._client.get(f"/api/v1/jobs/{member.id}/logs")
        return [line["text"] for line in answer.json()["lines"]]


async def submitted(client: httpx.AsyncClient, spec: dict[str, Any]) -> Run:
    async def known() -> bool:
        return (await client.post(f"{GROUPS}/validate", json=spec)).status_code == 200

    await eventually(known, what="a provider that takes the group")
    answer = await client.post(GROUPS, json=spec)
    assert answer.status_code == 202, answer.text
    return Run(client, answer.json()["id"])


@pytest.fixture
async def stage(make_stage: StageMaker) -> Stage:
    made = await make_stage(local=LOCAL)
    made.settings = made.settings.model_copy(update={"api": ApiSettings(key=SecretStr(KEY))})
    return made


async def test_a_pipeline_hands_files_on(stage: Stage) -> None:
    async with stage.worker(), client_of(stage.settings) as client:
        run = await submitted(client, example("pipeline"))
        ended = await run.ended()
        assert ended.state == "completed", ended.message
        members = {member.member: member for member in ended.members.items}
        assert await run.lines(members["report"]) == [
            "power 1: 500500",
            "power 2: 333833500",
            "power 3: 250500250000",
        ]
        assert [gang.decision for gang in ended.gangs] == ["committed"] * 3
        assert members["prep"].finished_at is not None
        train = members["train[power=2]"]
        assert train.started_at is not None
        assert members["prep"].finished_at <= train.started_at
        events = await client.get(f"{GROUPS}/{run.id}/events", params={"limit": 1000})
        types = [event["type"] for event in events.json()["items"]]
        assert types[0] == "cortex.group.submitted"
        assert types[-1] == "cortex.group.state.changed"
        assert types.count("cortex.job.outputs.stored") == 5


async def test_an_array_runs_a_few_at_once(stage: Stage) -> None:
    spec = example("array")
    spec["jobs"][0]["count"] = 12
    spec["concurrency"] = 4
    async with stage.worker(), client_of(stage.settings) as client:
        run = await submitted(client, spec)
        ended = await run.ended()
        assert ended.state == "completed", ended.message
        assert ended.counts == {"completed": 12}
        assert (await run.lines(ended.members.items[11]))[0] == "part 11 of 12: 121"
        assert ended.cost.amount == sum(member.cost.amount for member in ended.members.items)
        assert await _most_at_once(stage) <= 4


async def test_files_that_have_gone_end_the_job_before_a_lease(stage: Stage) -> None:
    spec = {
        "name": "gone",
        "jobs": [
            {"name": "prep", "command": ["true"], "outputs": ["never-made.txt"]},
            {
                "name": "use",
                "command": ["true"],
                "after": "prep",
                "inputs": [{"from": "prep", "path": "never-made.txt"}],
            },
        ],
    }
    async with stage.worker(), client_of(stage.settings) as client:
        ended = await (await submitted(client, spec)).ended()
        prep, use = ended.members.items
        assert (prep.state, use.state) == ("completed", "failed")
        assert use.reason == "invalid_spec"
        assert f"`never-made.txt` of job `{prep.id}` is not there" in use.message
        assert ended.state == "failed"
        async with stage.database.transaction() as tx:
            assert await tx.leases.of_job(use.id) == []


async def test_a_running_group_is_cancelled(stage: Stage) -> None:
    sleep = {"name": "s", "command": ["sleep", "60"], "count": 3}
    after = {"name": "z", "command": ["true"], "after": "s"}
    async with stage.worker(), client_of(stage.settings) as client:
        run = await submitted(client, {"jobs": [sleep, after]})

        async def running() -> bool:
            return (await run.view()).counts.get(JobState.RUNNING) == 3

        await eventually(running, within=30, what="three running members")
        for _ in range(2):
            answer = await client.post(f"{GROUPS}/{run.id}/cancel", json={"reason": "enough"})
            assert answer.status_code == 202
        ended = await run.ended()
        assert ended.state == "cancelled"
        assert ended.counts == {"cancelled": 4}
        answer = await client.post(f"{GROUPS}/{run.id}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "group_already_ended")


async def _most_at_once(stage: Stage) -> int:
    """How many leases were held at the same time, by their own times."""
    async with stage.database.transaction() as tx:
        rows = await tx.connection.execute(text("SELECT created_at, released_at FROM leases"))
        spans: list[tuple[datetime, datetime]] = [(row.created_at, row.released_at) for row in rows]
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)
