"""The schema against the API itself, by operations that schemathesis makes up, with each role.

Whatever is asked for: no 5xx, no error that nobody expected, nothing internal in an answer.
`FUZZ_SECONDS=600` makes each part longer, `FUZZ_SEED=7` another one.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from api.graphql.schema import text
from cortex.domain.rights import Role
from cortex.settings import Settings
from providers.conformance import slowdown
from tests.api import test_access
from tests.api.support import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

SECONDS: Final = int(os.environ.get("FUZZ_SECONDS", "5"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "24"))

settings = test_access.settings


async def run(url: str, folder: Path, role: Role) -> str:
    (folder / "schema.graphql").write_text(text())
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        "schema.graphql",
        f"--url={url}/graphql",
        f"--max-time={round(SECONDS * slowdown())}",
        f"--seed={SEED}",
        "--phases=fuzzing",
        "--checks=not_a_server_error",
        "--continue-on-failure",
        "--suppress-health-check=all",
        "--request-timeout=60",
        "--no-color",
        "--no-shrink",
        "--generation-database=none",
        "--report=ndjson",
        "--report-ndjson-path=events.ndjson",
        f"--header=Authorization: {test_access.being(role.value)['authorization']}",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()


def answers(report: Path) -> Iterator[tuple[str, int, str]]:
    """What was asked, and what was answered."""
    for line in report.read_text().splitlines():
        ended = json.loads(line).get("ScenarioFinished")
        for seen in (ended or {"recorder": {}})["recorder"].get("interactions", {}).values():
            answer = seen["response"]
            if answer is not None:
                asked = _text(seen["request"].get("body"))
                yield asked, answer["status_code"], _text(answer.get("content"))


def _text(content: dict[str, Any] | None) -> str:
    return base64.b64decode((content or {}).get("$base64", "")).decode(errors="replace")


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.usefixtures("providers")
async def test_no_operation_breaks_anything(settings: Settings, tmp_path: Path, role: Role) -> None:
    async with serve(settings) as (url, _):
        out = await run(url, tmp_path, role)
    report = tmp_path / "events.ndjson"
    assert report.exists(), out[-3000:]
    seen = list(answers(report))
    for asked, status, answer in seen:
        assert status < 500, (asked, answer)
        assert "internal_error" not in answer, (asked, answer)
        assert "Traceback" not in answer, (asked, answer)
    assert len(seen) >= 20, out[-3000:]
    assert any('"data":{' in answer for _, _, answer in seen), out[-3000:]
