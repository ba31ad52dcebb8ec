"""Secrets are planted in a whole stack with jobs on every network, and looked for everywhere."""

import base64
import json
import os
import secrets
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from cortex.client import ApiError, AsyncCortex
from cortex.domain.notices import NoticeEvent
from cortex.domain.rights import Role
from cortex.domain.states import JobState
from cortex.embedded.simulators import SIMULATORS, provider_id
from cortex.security import totp
from tests.e2e.support import shell
from tests.support import eventually
from tests.support.mail import MailServer
from tests.support.stack import Stack, running_stack, short_folder

pytestmark = pytest.mark.e2e

_MOST = 64 * 2**20
"""Larger files are none of ours: programs and images."""


_OF_NETWORKS = {
    "simulators/akash/akash.json": "the manifest, which its provider needs to start the container",
    "simulators/golem/golem.db": "the script of an activity, which its node carries out",
}
"""What a network itself keeps of what it was sent: the secret has to get there somehow."""


@dataclass
class Planted:
    """Secrets by what they are of, and what they may look like somewhere."""

    by_name: dict[str, str] = field(default_factory=dict)

    def new(self, name: str) -> str:
        return self.by_name.setdefault(name, f"planted-{secrets.token_hex(16)}")

    def forms(self) -> dict[bytes, str]:
        forms: dict[bytes, str] = {}
        for name, secret in self.by_name.items():
            raw = secret.encode()
            # Wherever base64 begins within a longer text, the middle of it stays the same.
            shifted = [base64.b64encode(b"x" * n + raw)[4:-4] for n in range(3)]
            other = [urllib.parse.quote(secret).encode(), raw.hex().encode()]
            forms |= dict.fromkeys([raw, *shifted, *other], name)
        return forms

    def found(self, where: str, content: bytes) -> list[str]:
        return sorted(
            {f"{name}: {where}" for form, name in self.forms().items() if form in content}
        )


@pytest.fixture(scope="module")
def mails() -> Iterator[MailServer]:
    """Where the stack sends mail."""
    with short_folder("ctx-mail-") as folder:
        server = MailServer(folder)
        server.start()
        yield server
        server.end()


@pytest.fixture(scope="module")
async def stack(mails: MailServer) -> AsyncIterator[Stack]:
    with short_folder("ctx-sec-") as folder:
        settings = {
            "CORTEX_TEMPORAL__ENCRYPT_PAYLOADS": "true",
            "CORTEX_SMTP__HOST": "localhost",
            "CORTEX_SMTP__PORT": str(mails.port),
            "CORTEX_SMTP__CA": str(mails.ca),
            "CORTEX_SMTP__USERNAME": "cortex",
            "CORTEX_SMTP__PASSWORD": "hunter2",
            "CORTEX_SMTP__SENDER": "cortex@example.com",
            "CORTEX_SMTP__ADDRESSES__LOCAL": "local@example.com",
            "CORTEX_NOTICES__GATHER": "0s",
            "CORTEX_NOTICES__GAP": "1s",
        }
        async with running_stack(folder, settings, simulators=True) as running:
            yield running


async def histories(stack: Stack) -> bytes:
    """Every history, as Temporal keeps it."""
    client = await Client.connect(stack.config.temporal_address, namespace="cortex")
    parts: list[bytes] = []
    async for run in client.list_workflows(""):
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        async for event in handle.fetch_history_events():
            parts.append(event.SerializeToString())
    assert len(parts) > 50
    return b"\n".join(parts)


async def database(stack: Stack) -> bytes:
    """Every value of every table; bytes as they are stored."""
    tables = await stack.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    parts: list[bytes] = []
    for table in tables:
        for row in await stack.rows(f'SELECT * FROM "{table["tablename"]}"'):
            for value in row.values():
                parts.append(
                    bytes(value)
                    if isinstance(value, bytes | memoryview)
                    else json.dumps(value, default=str).encode()
                )
    assert len(parts) > 500
    return b"\n".join(parts)


async def answers(stack: Stack, ids: list[str]) -> bytes:
    """What every GET route says."""
    async with httpx.AsyncClient(
        base_url=stack.config.api_url, headers={"X-API-Key": stack.config.api_key}, timeout=60
    ) as http:
        document = (await http.get("/openapi.json")).json()
        given = {
            "{job_id}": ids,
            "{provider_id}": [provider_id(name) for name in SIMULATORS],
            "{name}": ["planter"],
            "{group_id}": [i for i in ids if i.startswith("grp")],
        }
        paths: list[str] = []
        for path, methods in document["paths"].items():
            if "get" not in methods:
                continue
            hole = next((hole for hole in given if hole in path), None)
            values = given[hole] if hole else [""]
            paths += [path.replace(hole or "\0", value) for value in values]
        parts = [(await http.get(path)).content for path in paths if "{" not in path]
    assert len(parts) > 60
    return b"\n".join(parts)


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < _MOST:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                yield path, file.read()


async def plant_logins(stack: Stack, planted: Planted) -> None:
    """Whatever somebody who logs in types, and is given."""
    client, password = stack.client, planted.new("a password")
    await client.add_user("person", Role.DEVELOPER)
    invitation = await client.invite("person")
    await client.redeem(invitation.token, password)
    with pytest.raises(ApiError):
        await client.login("person", planted.new("a wrong password"))
    first = await client.login("person", password)
    login = await client.refresh(first.refresh_token)
    async with AsyncCortex(stack.config.api_url, login.access_token) as own:
        secret = (await own.enrol_second_factor(password)).secret
        codes = await own.confirm_second_factor(totp.code_at(secret, time.time()))
        assert [each.id for each in await own.sessions()] == [login.session.id]
    await client.login("person", password, code=codes[0])
    planted.by_name |= {
        "the token of a link": invitation.token[4:],
        "a refresh token": first.refresh_token[4:],
        "the next refresh token": login.refresh_token[4:],
        "an access token": login.access_token.rpartition(".")[2],
        "a second factor": secret,
        "a recovery code": codes[1],
        "a used recovery code": codes[0],
    }


async def mailed_link(stack: Stack, mails: MailServer) -> str:
    """The token of a link, as it stands in the mail that was sent."""
    await stack.client.add_user("mailed", Role.VIEWER, email="mailed@example.com")
    assert (await stack.client.invite("mailed")).token == ""

    async def sent() -> bool:
        return bool(mails.envelopes)

    await eventually(sent, what="the mail with the link")
    assert mails.envelopes[0].rcpt_tos == ["mailed@example.com"]
    return mails.texts[0].partition("redeem ctl_")[2].split()[0]


async def test_nothing_that_is_secret_is_anywhere(stack: Stack, mails: MailServer) -> None:
    planted, told = Planted(), Planted()
    client = stack.client
    await plant_logins(stack, planted)
    planted.by_name["the token of a mailed link"] = await mailed_link(stack, mails)
    await client.update_notices(own=[each.value for each in NoticeEvent])
    await client.add_user("planter", Role.DEVELOPER)
    key = await client.create_key("ci", user="planter")
    planted.by_name["an API key"] = key.key[13:]
    names = ["local", *(provider_id(name) for name in SIMULATORS if name != "render")]

    async def online() -> bool:
        known = {each.id for each in await client.providers() if each.status == "online"}
        return known >= set(names)

    await eventually(online, within=30, what="all providers")
    script = 'test -n "$TOKEN" && test -n "$OTHER" && echo "it has ${#TOKEN} letters"'
    # No secrets, but nobody's business in Temporal: its payloads are encrypted.
    script += f"; : {told.new('a command')}"
    await client.set_secret("kept", planted.new("a secret of a project"))
    ids: list[str] = []
    for name in names:
        job = await client.submit(
            shell(
                f'test -n "$KEPT" && {script}' if name == "local" else script,
                secret_env={
                    "TOKEN": planted.new(f"a secret of a job at {name}"),
                    "OTHER": planted.new(f"another one at {name}"),
                    **({"KEPT": {"secret": "kept"}} if name == "local" else {}),
                },
                env={"PLAIN": told.new("a variable")},
                placement={"providers": [name]},
                **({} if name == "local" else {"image": "busybox:1.36"}),
            )
        )
        ids.append(job.id)
    member: dict[str, Any] = {
        "name": "m",
        "command": ["sh", "-c", 'test -n "$TOKEN"'],
        "count": 2,
        "secret_env": {"TOKEN": planted.new("a secret of a group")},
    }
    view = await client.submit_group({"name": "g", "jobs": [member]})
    for job_id in ids:
        ended = await client.wait(job_id, timeout=300)
        assert ended.state is JobState.COMPLETED, (ended.provider_id, ended.message)
        lines = [line.text async for line in client.logs(job_id)]
        assert f"it has {len(planted.new('a secret of a group'))} letters" in lines
    group = await client.wait_group(view.id, timeout=300)
    assert group.state == "completed"

    async def notified() -> bool:
        return any("group g has completed" in text.lower() for text in mails.texts)

    await eventually(notified, within=30, what="the notice of the group's end")
    notices = "\n".join(mails.texts[1:])
    assert ids[0] in notices
    leaks = planted.found("a notice", notices.encode()) + told.found("a notice", notices.encode())
    leaks += planted.found("a table", await database(stack))
    kept = await histories(stack)
    leaks += planted.found("a history of Temporal", kept)
    leaks += told.found("a history of Temporal", kept)
    assert kept.count(b"binary/encrypted") > 100
    leaks += planted.found("an answer of the API", await answers(stack, [*ids, view.id]))
    for path, content in files(stack.config.data_dir):
        name = str(path.relative_to(stack.config.data_dir))
        if not name.startswith(tuple(_OF_NETWORKS)):
            leaks += planted.found(name, content)
        if name.startswith("temporal"):
            leaks += told.found(name, content)
    assert not leaks, "\n".join(leaks)


def test_what_is_planted_would_be_found() -> None:
    planted = Planted()
    secret = planted.new("it")
    for form in (
        f"x{secret}y",
        base64.b64encode(f"ab {secret} and more".encode()).decode(),
        secret.encode().hex(),
    ):
        assert planted.found("here", form.encode()) == ["it: here"]
    assert planted.found("here", b"nothing") == []
