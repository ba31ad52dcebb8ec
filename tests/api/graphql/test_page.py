"""The page for browsers: from this server alone, and without a key."""

import base64
import hashlib
import re

import httpx

from tests.api.graphql.support import GRAPHQL


async def test_it_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    answer = await client.get(GRAPHQL)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert not re.search(r"(src|href)=", answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
