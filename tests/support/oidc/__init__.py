"""A real OpenID provider (npm `oidc-provider`), and somebody who logs in there with a browser."""

import asyncio
import html
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from tests.support import patience

CLIENT: Final = {"client_id": "cortex", "client_secret": "a secret of the tests: they know it"}
_FOLDER: Final = Path(__file__).parent
_NODE: Final = Path(sys.executable).with_name("node")


@asynccontextmanager
async def real_provider(people: Mapping[str, Mapping[str, Any]]) -> AsyncIterator[str]:
    """It runs; yields its address.

    Args:
        people: Whom it knows: what they type as their login, to their claims.
    """
    assert (_FOLDER / "node_modules/oidc-provider").exists(), "it is not installed: `make oidc`"
    process = await asyncio.create_subprocess_exec(
        str(_NODE),
        "server.mjs",
        json.dumps(people),
        cwd=_FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(patience(30)):
            address = (await process.stdout.readline()).decode().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield address
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def browse(browser: httpx.AsyncClient, url: str, *, at: str, login: str) -> str:
    """Log in at the provider and agree to all; where it sends the browser back to.

    Args:
        browser: Keeps the cookies.
        url: Where the browser is sent to.
        at: The address of the provider: whatever else is the way back.
        login: Of whoever logs in.
    """
    answer = await browser.get(url)
    for _ in range(10):
        if answer.is_redirect:
            target = urljoin(str(answer.url), answer.headers["location"])
            if not target.startswith(at):
                return target
            answer = await browser.get(target)
            continue
        action, fields = _form(answer, login)
        answer = await browser.post(action, data=fields)
    raise AssertionError(answer.text)


def _form(answer: httpx.Response, login: str) -> tuple[str, dict[str, str]]:
    """Its address and the fields, filled."""
    action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
    assert action is not None, answer.text
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w*)"', answer.text))
    if 'name="login"' in answer.text:
        fields |= {"login": login, "password": "any"}
    return urljoin(str(answer.url), html.unescape(action[1])), fields
