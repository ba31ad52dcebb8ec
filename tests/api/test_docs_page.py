"""The pages of the documentation under a policy that lets them run their own scripts only."""

import base64
import hashlib
import re

import httpx
import pytest


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_policy_allows_what_the_page_has(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(page)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    }
    assert set(policy["script-src"].split()) == {"'self'"} | hashes
    assert bool(hashes) == (page == "/docs")


async def test_scripts_may_be_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs/assets/swagger-ui.css")
    assert answer.headers["cache-control"] == "public, max-age=86400"
    assert answer.headers["x-content-type-options"] == "nosniff"
