"""The OpenAPI document against the API itself, by requests that schemathesis makes up.

Whatever the document allows is taken, whatever it forbids is refused, and every answer is one that
it describes. In the suite they are so many and the same ones on a fast machine and on a slow one.
`FUZZ_SECONDS=1800` goes on for so long, `FUZZ_SEED=7` makes up other ones.
"""

import asyncio
import base64
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from pydantic import SecretStr

from cortex.domain.rights import Role
from cortex.settings import ApiKey, Settings
from tests.api.support import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

SECONDS: Final = float(os.environ.get("FUZZ_SECONDS", "0"))
"""Of each whole part; 0: as many as `Part.examples` says."""
SEED: Final = int(os.environ.get("FUZZ_SEED", "24"))
_KEY: Final = "key-of-whoever-1234"
_SETTINGS: Final = "settings(/.*)?$"
_WITH_SPECS: Final = "(groups|groups/validate|jobs|jobs/batch|jobs/validate|quotes)$"


@dataclass(frozen=True)
class Known:
    """A finding that is none, and why."""

    check: str
    operation: str
    """A regular expression, as is `answer`."""
    answer: str
    why: str


_SPECS: Final = r"POST /api/v1/(jobs|jobs/batch|jobs/validate|quotes)"
_GROUPS: Final = r"POST /api/v1/groups(/validate)?"
_VALID: Final = "positive_data_acceptance"
KNOWN: Final = (
    Known(
        "not_a_server_error",
        r"POST /api/v1/(quotes|reconcile|providers.*|secrets/rotation|jobs/\{job_id\}/resolve)|"
        r"PATCH /api/v1/providers/\{provider_id\}|GET /api/v1/(reconcile/runs|providers)/.*",
        '^503 .*"code":"temporal_unavailable"',
        "Temporal is away in these tests; 503 says so, and is in the document",
    ),
    Known(
        "not_a_server_error",
        "GET /health/ready",
        '^503 .*"name":"temporal","ok":false',
        "it is what it is for: it tells that Temporal is away",
    ),
    Known(
        _VALID,
        r"GET /api/v1/(events|(jobs|groups)/\{[a-z_]+\}/(events|logs))",
        "^422 .*`Last-Event-ID` is no (event position|log cursor)",
        "for a header with a pattern schemathesis sends `0`, which does not match the pattern",
    ),
    Known(
        _VALID,
        "POST /api/v1/keys",
        "^422 .*(is of no use: the role|has at most the scopes of that one|is not in the project)",
        "what a key may be limited to depends on the role of its user, and their projects",
    ),
    Known(
        _VALID,
        "POST /api/v1/auth/(redeem|password)",
        "^422 .*the password is not taken: `(new_)?password` (must have at least|is easy to guess)",
        "how hard a password is to guess is no rule that JSON Schema can say",
    ),
    Known(
        _VALID,
        "POST /api/v1/auth/device/token",
        '^400 .*"code":"(authorization_pending|slow_down|expired_token)"',
        "RFC 8628 wants a 400 as long as nobody has approved the program",
    ),
    Known(
        _VALID,
        r"GET /api/v1/jobs/\{job_id\}/metrics",
        '^422 .*"field":"since","message":"must not be after',
        "which of two times is the later one is no rule that JSON Schema can say",
    ),
    Known(
        _VALID,
        r"(POST|PATCH) /api/v1/webhooks.*",
        '^422 .*"field":"url"',
        "which addresses, ports and schemes a webhook may have depends on the settings",
    ),
    Known(
        _VALID,
        "PUT /api/v1/users/me/notices",
        '^422 .*"field":"chat"',
        "which services and addresses a chat may have depends on Apprise and the settings",
    ),
    Known(
        _VALID,
        f"{_SPECS}|{_GROUPS}",
        "^422 .*, who is nobody here or may not see jobs of this project",
        "who there is is no matter of the document",
    ),
    Known(
        _VALID,
        r"PATCH /api/v1/webhooks/\{webhook_id\}",
        "^422 .*must be given anew .* for another host",
        "what a webhook has already is no matter of the document",
    ),
    Known(
        _VALID,
        r"(POST|PATCH) /api/v1/templates.*",
        "^422 .*(the template is not valid|is not for a template of a |the job spec is not valid"
        "|what is given for|no_provider)",
        "specs with placeholders are checked with what is filled in, parameters with each other",
    ),
    Known(
        _VALID,
        r"(POST|PATCH) /api/v1/schedules.*",
        "^422 .*(the (schedule|change of the schedule|span) is not valid: `(cron|timezone|start|end"
        "|start_at|end_at|job|params|overrides)[`.]|the job spec is not valid|what is given for)",
        "which texts name times, and which of them are to come, JSON Schema cannot say",
    ),
    Known(
        _VALID,
        "(PATCH|POST) /api/v1/settings.*",
        "^(412|422) .*(the settings are not valid: `|precondition_failed)",
        "what a setting may be depends on which one it is, and on the others",
    ),
    Known(
        _VALID,
        f"{_SPECS}|{_GROUPS}",
        '^(402|422) .*"code":"(no_provider|over_budget)"',
        "well-formed, and no provider here can run it, or a budget does not allow it",
    ),
    Known(
        _VALID,
        _SPECS,
        "^422 .*(names the same thing twice|stands in both `env` and `secret_env`"
        "|must be more than the `duration`|must not be less than `backoff`"
        "|must give at least one of cost|is over [0-9]+ KiB|may have at most [0-9,]+;"
        "|must be at most [0-9,]+ bytes|takes no `|names more than|is longer than this server"
        "|this server runs jobs for at most)",
        "JSON Schema does not compare fields with each other, add up, or know other items",
    ),
    Known(
        _VALID,
        _SPECS,
        "^422 .*(there is no (job|secret) `|its outputs are there when it has ended|kept no "
        "|must be the id of a job|there is no strategy|is no known strategy"
        "|(is|are) no known provider|for which no provider has a rate)",
        "well-formed, and names a job, a secret, a strategy, ... that is not here",
    ),
    Known(
        _VALID,
        _SPECS,
        "^422 .*must be at most 255 printable characters",
        "which code points are assigned is no rule that JSON Schema can say",
    ),
    Known(
        _VALID,
        _GROUPS,
        "^422 .*(the group spec is not valid|member `)",
        "texts of a group's jobs have placeholders; what they become is checked once expanded",
    ),
    Known(
        _VALID,
        r"GET /api/v1/jobs/\{job_id\}/logs",
        "^422 .*give either `since` or `tail`",
        "OpenAPI cannot say that two parameters exclude each other",
    ),
    Known(
        _VALID,
        r"(GET /api/v1/jobs|GET /api/v1/groups|POST /api/v1/jobs/cancel)",
        "^422 .*each key once",
        "JSON Schema cannot say that the keys within texts differ",
    ),
    Known(
        _VALID,
        r"(PUT|PATCH|DELETE) /api/v1/(budgets|users|providers|secrets|templates|schedules)/.*",
        '^412 .*"code":"precondition_failed"',
        "which version there is, the document cannot say",
    ),
    Known(
        _VALID,
        "POST /api/v1/jobs/cancel",
        "^422 .*the filter is empty",
        "OpenAPI cannot say that a body is about the parameters of the query",
    ),
    Known(
        _VALID,
        r"(POST|PATCH) /api/v1/(budgets|keys).*",
        "^422 .*has no known rate",
        "which currencies have a rate is known from the price sheets only",
    ),
    Known(
        _VALID,
        r"(POST|PATCH) /api/v1/providers.*|POST /api/v1/auth/(passkeys|login)(/.*)?",
        "^422 .*contains a NUL character",
        "JSON Schema has no rule for all texts below an object of any form",
    ),
    Known(
        _VALID,
        "POST /api/v1/temporal/codec/(en|de)code",
        "^422 .*contains a NUL character",
        "nor below the parts of a payload that are others' matter",
    ),
    Known(
        _VALID,
        f"{_SPECS}|{_GROUPS}",
        "^422 .*`(x-[^`]*)?` contains a NUL character",
        "nor below an extension, or for its name",
    ),
    Known(
        "unsupported_method",
        "POST /api/v1/jobs/cancel",
        '^404 .*"code":"not_found"',
        "the same path asks for the job `cancel`, which there is not",
    ),
    Known(
        "negative_data_rejection",
        r"PATCH /api/v1/budgets/\{budget_id\}",
        '^412 .*"code":"precondition_failed"',
        "the same readings of YAML, with an `If-Match` beside them",
    ),
    Known(
        "negative_data_rejection",
        r"(POST|PATCH) /api/v1/budgets.*",
        '^20[01] .*"name":"(true|false|null|[-+0-9.e]+)"',
        "in YAML text is what was written, and JSON Schema knows no such reading",
    ),
)


@dataclass(frozen=True)
class Finding:
    check: str
    operation: str
    request: str
    answer: str

    def __str__(self) -> str:
        return f"{self.check}: {self.operation}\n    {self.request[:600]}\n    {self.answer[:600]}"

    @property
    def known(self) -> bool:
        return any(
            self.check == finding.check
            # A scenario of several steps does not name the operation of the one that failed.
            and re.fullmatch(f"{finding.operation}|Stateful tests", self.operation)
            and re.search(finding.answer, self.answer, re.DOTALL)
            for finding in KNOWN
        )


async def run(url: str, folder: Path, key: str, *options: str) -> str:
    """One run of schemathesis; its summary. What it saw is in `events.ndjson`."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        (folder / "openapi.json").write_text((await http.get("/openapi.json")).text)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        "openapi.json",
        f"--url={url}",
        f"--seed={SEED}",
        "--checks=all",
        "--mode=all",
        "--continue-on-failure",
        "--suppress-health-check=all",
        "--request-timeout=60",
        "--no-color",
        "--no-shrink",
        "--generation-database=none",
        "--report=ndjson",
        "--report-ndjson-path=events.ndjson",
        f"--header=Authorization: Bearer {key}",
        *options,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    (folder / "out.txt").write_bytes(out)
    return out.decode()


def findings(report: Path) -> Iterator[Finding]:
    """Every check that failed."""
    for line in report.read_text().splitlines():
        ended = json.loads(line).get("ScenarioFinished")
        if ended is None:
            continue
        seen = ended["recorder"]
        for case, checks in seen.get("checks", {}).items():
            for check in checks:
                if check["status"] == "failure":
                    yield _finding(
                        check["name"], seen["label"], seen.get("interactions", {}).get(case)
                    )


def _finding(check: str, operation: str, seen: dict[str, Any] | None) -> Finding:
    if seen is None or seen["response"] is None:
        return Finding(check, operation, "", "no answer")
    asked, answered = seen["request"], seen["response"]
    body = _text(asked.get("body"))
    request = f"{asked['method']} {asked['uri']} {body}"
    return Finding(
        check, operation, request, f"{answered['status_code']} {_text(answered.get('content'))}"
    )


def _text(content: dict[str, str] | None) -> str:
    encoded = (content or {}).get("$base64", "")
    return base64.b64decode(encoded).decode(errors="replace")


def tried(report: Path) -> int:
    """How many requests were made."""
    ended = [json.loads(line).get("ScenarioFinished") for line in report.read_text().splitlines()]
    return sum(len(scenario["recorder"].get("interactions", {})) for scenario in ended if scenario)


@dataclass(frozen=True)
class Part:
    """Some of the routes, asked by one role."""

    role: Role
    share: float
    """Of `FUZZ_SECONDS`."""
    examples: int
    """Requests for each operation, in each phase."""
    least: int
    options: tuple[str, ...]

    @property
    def effort(self) -> str:
        if SECONDS:
            return f"--max-time={round(SECONDS * self.share)}"
        return f"--max-examples={self.examples}"


_MOST: Final = (f"--exclude-path-regex={_WITH_SPECS}|{_SETTINGS}",)


# Requests with specs are large, and take schemathesis long to make: they have a time of their own.
# What is set at run time changes what the others are answered.
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(Part(Role.ADMIN, 1, 4, 100, _MOST), id="all but specs"),
        pytest.param(
            Part(
                Role.ADMIN,
                1,
                12,
                50,
                (f"--include-path-regex={_WITH_SPECS}", "--phases=fuzzing,stateful"),
            ),
            id="specs",
        ),
        pytest.param(
            Part(Role.ADMIN, 0.3, 4, 20, (f"--include-path-regex={_SETTINGS}",)), id="settings"
        ),
        *(
            pytest.param(Part(role, 0.3, 1, 30, _MOST), id=f"as {role}")
            for role in Role
            if role is not Role.ADMIN
        ),
    ],
)
@pytest.mark.usefixtures("providers")
async def test_the_document_says_what_the_api_does(
    settings: Settings, tmp_path: Path, part: Part
) -> None:
    keys = {"whoever": ApiKey(key=SecretStr(_KEY), role=part.role)}
    api = settings.api.model_copy(update={"keys": keys})
    least = part.least
    async with serve(settings.model_copy(update={"api": api})) as (url, _):
        out = await run(url, tmp_path, _KEY, part.effort, *part.options)
    report = tmp_path / "events.ndjson"
    assert report.exists(), out[-3000:]
    unknown = [str(finding) for finding in findings(report) if not finding.known]
    assert not unknown, f"{len(unknown)} findings\n" + "\n".join(unknown) + out[-1500:]
    assert tried(report) >= least, out[-3000:]
