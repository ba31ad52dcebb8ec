"""The simulator answers as the real daemon does, also where the published specification is wrong.

The same calls go to both, refused ones included. Compared are the status, the kind of content, and
the shape of the body: names and types of fields, not their values.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from simulators.golem import APP_KEY
from simulators.golem.nodes import PLATFORM as SIMULATED_PLATFORM
from tests.providers.golem.conftest import Sim, simulated
from tests.providers.golem.real.agent import Agent
from tests.providers.golem.real.daemon import PLATFORM, Daemon

# Fields that one side has and the other need not: the daemon leaves them out when they are empty,
# or has both roles here.
_BY_CHANCE = {"previousDebitNoteId", "paymentDueDate"}
_FREE = ("properties", "demand", "offer", "reason")
NOWHERE = "0" * 64


class Talk:
    """The conversation with one side."""

    def __init__(self, client: httpx.AsyncClient, platform: str, subnet: str) -> None:
        self.client = client
        self.platform = platform
        self.subnet = subnet
        self.heard: list[tuple[str, int, str, Any]] = []

    async def say(self, what: str, method: str, path: str, **options: Any) -> Any:
        answer = await self.client.request(method, path, **options)
        kind = answer.headers.get("content-type", "").split(";")[0]
        body = answer.json() if "json" in kind and answer.content else None
        self.heard.append((what, answer.status_code, kind if body is not None else "", shape(body)))
        return body

    async def quiet(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.client.request(method, path, **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def shape(value: Any) -> Any:
    """Names and types; numbers are one type, lists are told by their first item."""
    if isinstance(value, dict):
        return {
            key: "any" if key in _FREE else shape(inner)
            for key, inner in sorted(value.items())
            if key not in _BY_CHANCE
        }
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return str(value)
    return "number" if isinstance(value, int | float) else type(value).__name__


async def conversation(talk: Talk, bill: Any) -> None:
    """Everything that the adapter says, and what a careless client would say."""
    await facts(talk)
    allocation = await money(talk)
    demand, draft = await market(talk, allocation)
    agreement = await agreements(talk, demand, draft)
    activity = await activities(talk, agreement)
    await bills(talk, agreement, activity, allocation, bill)


async def facts(talk: Talk) -> None:
    await talk.say("me", "GET", "/me")
    await talk.say("no key", "GET", "/me", headers={"authorization": ""})
    await talk.say("version", "GET", "/version/get", headers={"authorization": ""})
    await talk.say("net", "GET", "/net-api/v2/net/status")
    await talk.say("payment troubles", "GET", "/payment-api/v1/payments/status")


async def money(talk: Talk) -> str:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    body = {"totalAmount": "1.5", "paymentPlatform": talk.platform, "timeout": until,
             "makeDeposit": False}  # fmt: skip
    path = "/payment-api/v1/allocations"
    made = await talk.say("allocation", "POST", path, json=body)
    await talk.say("too much", "POST", path, json={**body, "totalAmount": "1000000"})
    spare = await talk.quiet("POST", path, json=body)
    await talk.say("list", "GET", path)
    await talk.say("one", "GET", f"{path}/{made['allocationId']}")
    await talk.say("release", "DELETE", f"{path}/{spare['allocationId']}")
    await talk.say("release again", "DELETE", f"{path}/{spare['allocationId']}")
    await talk.say("released", "GET", f"{path}/{spare['allocationId']}")
    ids = {"allocationIds": made["allocationId"]}
    await talk.say("decorations", "GET", "/payment-api/v1/demandDecorations", params=ids)
    return str(made["allocationId"])


async def market(talk: Talk, allocation: str) -> tuple[str, str]:
    base = "/market-api/v1/demands"
    decorations = await talk.quiet(
        "GET", "/payment-api/v1/demandDecorations", params={"allocationIds": allocation}
    )
    properties = {
        "golem.srv.comp.expiration": int((datetime.now(UTC).timestamp() + 1500) * 1000),
        "golem.srv.comp.task_package": f"hash:sha3:{'0' * 56}:http://127.0.0.1/x.gvmi",
        "golem.node.debug.subnet": talk.subnet,
        "golem.com.payment.chosen-platform": talk.platform,
        **{entry["key"]: entry["value"] for entry in decorations["properties"]},
    }
    limits = f"(&(golem.node.debug.subnet={talk.subnet})(golem.runtime.name=vm))"
    body = {"properties": properties, "constraints": limits}
    await talk.say("broken constraints", "POST", base, json={**body, "constraints": "((a="})
    await talk.say("no constraints", "POST", base, json={"properties": {}})
    await talk.say(
        "no json", "POST", base, content=b"", headers={"content-type": "application/json"}
    )
    demand = await talk.say("demand", "POST", base, json=body)
    await talk.say("own demands", "GET", base)
    await talk.say("no such demand", "GET", f"{base}/{'0' * 32}-{NOWHERE}/events")
    await talk.say("too many", "GET", f"{base}/{demand}/events", params={"maxEvents": 101})
    initial = await proposal(talk, demand, "Initial")
    early = {"proposalId": initial, "validTo": properties_valid()}
    await talk.say("too early", "POST", "/market-api/v1/agreements", json=early)
    await talk.say("counter", "POST", f"{base}/{demand}/proposals/{initial}", json=body)
    await talk.say("counter again", "POST", f"{base}/{demand}/proposals/{initial}", json=body)
    await talk.say("no such", "POST", f"{base}/{demand}/proposals/R-{NOWHERE}", json=body)
    return demand, await proposal(talk, demand, "Draft")


def properties_valid() -> str:
    return (datetime.now(UTC) + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")


async def proposal(talk: Talk, demand: str, state: str) -> str:
    for _ in range(40):
        events = await talk.quiet(
            "GET",
            f"/market-api/v1/demands/{demand}/events",
            params={"timeout": 1, "maxEvents": 100},
        )
        for event in events:
            if event["eventType"] == "ProposalEvent" and event["proposal"]["state"] == state:
                talk.heard.append((f"proposal {state}", 200, "", shape(event)))
                return str(event["proposal"]["proposalId"])
    raise AssertionError(f"no {state} proposal came")


async def agreements(talk: Talk, demand: str, draft: str) -> str:
    base = "/market-api/v1/agreements"
    body = {"proposalId": draft, "validTo": properties_valid()}
    made = await talk.say("agreement", "POST", base, json=body)
    await talk.say("agreement again", "POST", base, json=body)
    await talk.say("wait too early", "POST", f"{base}/{made}/wait", params={"timeout": 1})
    await talk.say("terminate too early", "POST", f"{base}/{made}/terminate", json=None)
    session = {"appSessionId": f"talk-{made[:8]}"}
    await talk.say("confirm", "POST", f"{base}/{made}/confirm", params=session)
    await talk.say("wait", "POST", f"{base}/{made}/wait", params={"timeout": 20})
    await talk.say("confirm again", "POST", f"{base}/{made}/confirm", params=session)
    await talk.say("cancel too late", "POST", f"{base}/{made}/cancel", json=None)
    await talk.say("read", "GET", f"{base}/{made}")
    await talk.say("by session", "GET", base, params=session)
    await talk.say("unknown session", "GET", base, params={"appSessionId": "nobody"})
    await talk.say("no such", "GET", f"{base}/{NOWHERE}")
    await talk.say("no id", "GET", f"{base}/nonsense")
    await talk.say("no reason yet", "GET", f"{base}/{made}/terminate/reason")
    await talk.say("unpublish", "DELETE", f"/market-api/v1/demands/{demand}")
    await talk.say("unpublish again", "DELETE", f"/market-api/v1/demands/{demand}")
    return str(made)


async def activities(talk: Talk, agreement: str) -> str:
    base = "/activity-api/v1/activity"
    await talk.say("none yet", "GET", base, params={"agreementId": agreement})
    body = {"agreementId": agreement}
    made = (await talk.say("create", "POST", base, json=body, params={"timeout": 20}))["activityId"]
    here = f"{base}/{made}"
    await talk.say("activities", "GET", base, params={"agreementId": agreement})
    await talk.say("unreadable", "GET", base, params={"agreementId": "nonsense"})
    await talk.say("state", "GET", f"{here}/state")
    await talk.say("no such", "GET", f"{base}/{'0' * 32}/state")
    await talk.say("agreement of", "GET", f"{here}/agreement")
    await talk.say("bad command", "POST", f"{here}/exec", json={"text": '[{"fly":{}}]'})
    await talk.say("bad script", "POST", f"{here}/exec", json={"text": "nonsense"})
    capture = '"capture":{"stdout":{"atEnd":{"head":9,"format":"bin"}},"stderr":{"atEnd":{}}}'
    run = '{"run":{"entry_point":"/bin/sh","args":["-c","echo hi; exit %d"],%s}}'
    script = f'[{{"deploy":{{}}}},{{"start":{{"args":[]}}}},{run % (0, capture)}]'
    batch = await talk.say("exec", "POST", f"{here}/exec", json={"text": script})
    done = await finished(talk, f"{here}/exec/{batch}")
    talk.heard.append(("results", 200, "", [(i["result"], shape(i["stdout"])) for i in done]))
    last = await talk.say("result", "GET", f"{here}/exec/{batch}", params={"timeout": 1})
    assert last[-1]["isBatchFinished"] is True
    failing = f"[{run % (7, capture)},{run % (0, capture)}]"
    batch = await talk.quiet("POST", f"{here}/exec", json={"text": failing})
    done = await finished(talk, f"{here}/exec/{batch}")
    talk.heard.append(("failing", 200, "", [(i["result"], i["isBatchFinished"]) for i in done]))
    assert "exited with code 7" in done[0]["message"]
    await talk.say("ready", "GET", f"{here}/state")
    await asyncio.sleep(0.7)
    await talk.say("usage", "GET", f"{here}/usage")
    await talk.say("no usage", "GET", f"{base}/{'0' * 32}/usage")
    return str(made)


async def finished(talk: Talk, path: str) -> list[dict[str, Any]]:
    for _ in range(60):
        results: list[dict[str, Any]] = await talk.quiet("GET", path, params={"timeout": 1})
        if results and results[-1]["isBatchFinished"]:
            return results
    raise AssertionError("the batch did not end")


async def bills(talk: Talk, agreement: str, activity: str, allocation: str, bill: Any) -> None:
    base = "/payment-api/v1"
    note = await bill(activity)
    read = await talk.say("note", "GET", f"{base}/debitNotes/{note}")
    await talk.say("no such note", "GET", f"{base}/debitNotes/nonsense")
    amount = read["totalAmountDue"]
    right = {"totalAmountAccepted": amount, "allocationId": allocation}
    accept = f"{base}/debitNotes/{note}/accept"
    await talk.say("wrong amount", "POST", accept, json={**right, "totalAmountAccepted": "0.99"})
    await talk.say("reject a note", "POST", f"{base}/debitNotes/{note}/reject",
                   json={"rejectionReason": "BAD_SERVICE", "totalAmountAccepted": "0"})  # fmt: skip
    await talk.say("accept", "POST", accept, json=right)
    await talk.say("accept again", "POST", accept, json=right)
    await talk.say("destroy", "DELETE", f"/activity-api/v1/activity/{activity}?timeout=10")
    await talk.say("destroy again", "DELETE", f"/activity-api/v1/activity/{activity}?timeout=10")
    await talk.say("destroyed", "GET", f"/activity-api/v1/activity/{activity}/state")
    await talk.say("exec after", "POST", f"/activity-api/v1/activity/{activity}/exec",
                   json={"text": "[]"})  # fmt: skip
    end = f"/market-api/v1/agreements/{agreement}"
    reason = {"message": "job finished", "golem.requestor.code": "Success", "extra": "kept"}
    empty = {"content-type": "application/json"}
    await talk.say("no body", "POST", f"{end}/terminate", content=b"", headers=empty)
    await talk.say("terminate", "POST", f"{end}/terminate", json=reason)
    await talk.say("terminate again", "POST", f"{end}/terminate", json=reason)
    told = await talk.say("reason", "GET", f"{end}/terminate/reason")
    assert told["reason"]["extra"] == "kept"
    await talk.say("reason by post", "POST", f"{end}/terminate/reason", json=None)
    invoice = await the_invoice(talk, agreement)
    path = f"{base}/invoices/{invoice['invoiceId']}"
    right = {"totalAmountAccepted": invoice["amount"], "allocationId": allocation}
    await talk.say("invoice", "GET", path)
    await talk.say("bad reason", "POST", f"{path}/reject", json={"rejectionReason": "MOOD"})
    await talk.say("wrong amount", "POST", f"{path}/accept",
                   json={**right, "totalAmountAccepted": "0.99"})  # fmt: skip
    await talk.say("accept", "POST", f"{path}/accept", json=right)
    await talk.say("accept again", "POST", f"{path}/accept", json=right)
    await talk.say("reject too late", "POST", f"{path}/reject",
                   json={"rejectionReason": "BAD_SERVICE", "totalAmountAccepted": "0"})  # fmt: skip


async def the_invoice(talk: Talk, agreement: str) -> dict[str, Any]:
    for _ in range(60):
        for invoice in await talk.quiet("GET", "/payment-api/v1/invoices"):
            if invoice["agreementId"] == agreement:
                own: dict[str, Any] = invoice
                return own
        await asyncio.sleep(0.2)
    raise AssertionError("no invoice came")


@pytest_asyncio.fixture
async def side(tmp_path: Path) -> AsyncIterator[Sim]:
    async with simulated(tmp_path / "golem") as made:
        yield made


async def test_same_answers(daemon: Daemon, agent: Agent, side: Sim) -> None:
    async with daemon.client(daemon.requestor_key) as client:
        real = Talk(client, PLATFORM, "cortex-test")
        await conversation(real, agent.bill_now)

    async def simulated_bill(activity: str) -> str:
        return side.world.core.note(side.world.core.activities[activity]).id

    headers = {"authorization": f"Bearer {APP_KEY}"}
    async with httpx.AsyncClient(base_url=side.url, headers=headers, timeout=60) as client:
        stand_in = Talk(client, SIMULATED_PLATFORM, "public")
        await conversation(stand_in, simulated_bill)

    differences = [
        f"{mine[0]}: the daemon says {theirs[1:]}, the simulator {mine[1:]}"
        for theirs, mine in zip(real.heard, stand_in.heard, strict=True)
        if theirs != mine
    ]
    assert len(real.heard) > 70
    assert not differences, "\n".join(differences)
