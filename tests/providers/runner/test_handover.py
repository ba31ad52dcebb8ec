"""What is handed over in secret, and logs that have no room, run by the shells that images have."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from api.drop import DropMiddleware
from cortex.domain.spec import JobSpec
from providers.conformance import eventually
from providers.dropbox import HANDOVER, LONG, RESULT, DropBox
from providers.runner import HANDOVER_URL, RunnerLog, RunnerUrls, hand_over, sealed, wrap
from providers.runner.wrap import script
from simulators.kit.serve import serving
from tests.providers.runner.conftest import KEY, Container, shell

_GONE = b"it was taken already, or never put here\n"
HOUR = timedelta(hours=1)
SECRETS = {
    "a.b": "odd name",
    "TOKEN": 'it\'s "quoted" $HOME `id` \\n %s\nsecond line ü',
    "OTHER": "x" * 5000,
}


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[DropBox]:
    async def arrived(_key: str, _name: str) -> None:
        return None

    app = DropMiddleware(
        FastAPI(), folder=tmp_path / "drop", secret=b"secret", limit=10**7, arrived=arrived
    )
    async with serving(app) as url:
        yield DropBox(url, b"secret")


async def waiting(box: DropBox, spec: JobSpec, *, needed: bool = True) -> dict[str, str]:
    """The variables of a container whose secrets and links wait in the drop box."""
    urls = RunnerUrls(result=box.put_url(KEY, RESULT, HOUR), long=box.put_url(KEY, LONG, HOUR))
    wrapped = wrap(spec, KEY, hide=True)
    env, content = hand_over(wrapped, urls, seed=box.seed(KEY, HANDOVER), needed=needed)
    await box.put(KEY, HANDOVER, content)
    return {**env, HANDOVER_URL: box.take_url(KEY, HANDOVER, HOUR)}


def with_secrets(script: str) -> JobSpec:
    return shell(script, secret_env=SECRETS, env={"PLAIN": "p"})


class TestHandover:
    async def test_secrets_arrive_as_they_are(self, container: Container, box: DropBox) -> None:
        said = 'printf "%s|" "$TOKEN" "$OTHER" "$PLAIN"; grep -az ^a.b= /proc/$$/environ'
        spec = with_secrets(f"{said}; echo; env | grep -c CORTEX_RUNNER")
        await container.start(spec, more=await waiting(box, spec), hide=True, idle=False)
        await container.result()
        *lines, count = container.texts()
        wanted = f"{SECRETS['TOKEN']}|{SECRETS['OTHER']}|p|a.b=odd name"
        assert "\n".join(lines).rstrip("\ufffd") == wanted  # a NUL ends it
        assert count == "0"
        assert await box.fetch(KEY, HANDOVER) is None
        result = await eventually_put(box, RESULT)
        assert json.loads(result)["exit_code"] == 1  # that of grep

    async def test_neither_half_tells_anything(self, box: DropBox) -> None:
        env = await waiting(box, with_secrets("true"))
        content = await box.fetch(KEY, HANDOVER)
        assert content is not None
        there = bytes.fromhex(content.decode().replace("\n", ""))
        pad = bytes.fromhex(env["CORTEX_RUNNER_HANDOVER_PAD"].replace(",", ""))
        for half in (there, pad):
            assert b"quoted" not in half
            assert b"xxxx" not in half
            assert b"http" not in half
        whole = bytes(a ^ b for a, b in zip(there, pad, strict=True))
        assert b"quoted" in whole

    async def test_who_was_faster_is_found_out(self, container: Container, box: DropBox) -> None:
        """The command does not start without its secrets."""
        spec = with_secrets("echo ran")
        more = await waiting(box, spec)
        await box.delete(KEY, HANDOVER)
        await container.start(spec, more=more, hide=True, idle=False)
        result = await container.result()
        assert (result.exit_code, result.message) == (126, "handover")
        assert container.texts() == []

    async def test_only_one_of_two_can_take_it(self, box: DropBox) -> None:
        await box.put(KEY, HANDOVER, b"once")
        link = box.take_url(KEY, HANDOVER, HOUR)
        answers = await asyncio.gather(*(taken(link) for _ in range(8)))
        assert sorted(answers) == [(200, b"once"), *[(410, _GONE)] * 7]
        assert (await taken(link.replace("op=take", "op=get")))[0] == 403
        assert (await taken(box.get_url(KEY, HANDOVER, HOUR).replace("op=get", "op=take")))[
            0
        ] == 403


async def taken(link: str) -> tuple[int, bytes]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(link)
        return answer.status_code, answer.content


async def eventually_put(box: DropBox, name: str) -> bytes:
    async def there() -> bytes | None:
        return await box.fetch(KEY, name)

    reached = await eventually(there, what=name)
    assert reached is not None
    return reached


_MANY = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo end >&2; exit 5"


def as_json(raw: list[str]) -> int:
    """How long a node's result becomes with these lines."""
    stamp = "2026-11-29T14:03:43.363123456Z"
    logs = [{"log": line, "type": "stdout", "timestamp": stamp} for line in raw]
    return len(json.dumps(logs, ensure_ascii=False, separators=(",", ":")).encode())


class TestRoom:
    async def test_what_has_no_room_goes_to_the_drop_box(
        self, container: Container, box: DropBox
    ) -> None:
        spec = shell(_MANY)
        more = await waiting(box, spec, needed=False)
        await container.start(spec, more=more, room=40_000, idle=False)
        result = await container.result()
        assert result.exit_code == 5
        log = container.log()
        assert (log.cut, log.long) == (True, "sent")
        assert as_json(container.raw) < 40_000
        rest = (await eventually_put(box, LONG)).decode()
        log = RunnerLog(KEY)
        for raw in container.raw:
            for line in rest.splitlines() if log.is_end(raw) else ():
                log.feed(line)
            log.feed(raw)
        stdout = [line.text for line in log.lines() if line.stream == "stdout"]
        assert stdout == [f"line {i}" for i in range(2000)]
        assert "end" in [line.text for line in log.lines() if line.stream == "stderr"]

    async def test_where_the_rest_is_cut_a_line_says_so(
        self, container: Container, box: DropBox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def short(*args: Any, **kwargs: Any) -> str:
            text = script(*args, **kwargs)
            assert "long=33554432" in text
            return text.replace("long=33554432", "long=30000")

        monkeypatch.setattr(sys.modules["providers.runner.wrap"], "script", short)
        spec = shell(_MANY)
        more = await waiting(box, spec, needed=False)
        await container.start(spec, more=more, room=40_000, idle=False)
        await container.result()
        rest = (await eventually_put(box, LONG)).decode()
        *framed, last = rest.splitlines()
        assert last.startswith("[cortex] the log is cut")
        assert 0 < len("".join(framed)) <= 30000

    async def test_a_log_that_has_room_takes_nothing(
        self, container: Container, box: DropBox
    ) -> None:
        spec = shell("echo one")
        more = await waiting(box, spec, needed=False)
        await container.start(spec, more=more, room=40_000, idle=False)
        await container.result()
        assert (container.log().cut, container.log().long) == (False, "none")
        assert await box.fetch(KEY, HANDOVER) is not None

    async def test_without_a_drop_box_it_is_cut(self, container: Container) -> None:
        await container.start(shell(_MANY), room=40_000, idle=False)
        assert (await container.result()).exit_code == 5
        log = container.log()
        assert (log.cut, log.long) == (True, "none")
        assert as_json(container.raw) < 40_000

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param("head -c 150000 /dev/zero | tr '\\0' x", id="one long line"),
            pytest.param("head -c 150000 /dev/urandom", id="binary"),
            pytest.param("head -c 150000 /dev/zero | tr '\\0' '\\001'", id="control characters"),
            pytest.param("head -c 150000 /dev/zero | tr '\\0' '\"'", id="quotes"),
            pytest.param("yes | head -n 10000", id="short lines"),
        ],
    )
    async def test_no_output_is_longer_than_its_room(
        self, container: Container, script: str
    ) -> None:
        await container.start(shell(f"{script}; exit 3"), room=100_000, idle=False)
        assert (await container.result()).exit_code == 3
        assert as_json(container.raw) < 100_000


def test_the_pad_belongs_to_the_lease() -> None:
    """A pad is the same in every try, and another one for each lease."""
    drop = DropBox("http://x", b"secret")
    first = sealed({"A": "b"}, RunnerUrls(), seed=drop.seed(KEY, HANDOVER))
    assert first == sealed({"A": "b"}, RunnerUrls(), seed=drop.seed(KEY, HANDOVER))
    assert first != sealed({"A": "b"}, RunnerUrls(), seed=drop.seed(KEY[:-1] + "2", HANDOVER))
