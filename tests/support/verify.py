"""`cortex provider verify` as a process, against a server of a test."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.verify.model import VerifyReport
from tests.e2e.support import Command, Done

STEPS = (
    "account",
    "offer",
    "reserve",
    "commit",
    "start",
    "log",
    "exit code",
    "output file",
    "bill",
    "stop",
    "bill after stop",
    "nothing left",
    "trouble",
)


def command_for(url: str, api_key: str, folder: Path, **environment: str) -> Command:
    """The command, pointed at a server by its address."""
    command = Command(folder)
    command.environment.update({"CORTEX_URL": url, "CORTEX_API_KEY": api_key, **environment})
    return command


async def verified(
    cortex: Command, provider_id: str, folder: Path, *options: str, code: int = 0
) -> VerifyReport:
    """Run it to its end; the report, which stands in its file as it was printed."""
    file = folder / f"{provider_id}.json"
    words = ("provider", "verify", provider_id, "--json", "--report", str(file), *options)
    done = await cortex(*words, code=None, within=200)
    assert file.exists(), done
    told = VerifyReport.model_validate_json(file.read_text())
    wrong = [step for step in told.steps if step.result != "ok"]
    assert done.code == code, (provider_id, done.code, done.err, told.summary, wrong)
    assert VerifyReport.model_validate(done.json()[0]) == told
    return told


def by_name(told: VerifyReport) -> dict[str, str]:
    """What each step came to."""
    return {step.name: step.result.value for step in told.steps}


def refused(done: Done) -> dict[str, Any]:
    """The error that a command printed as JSON."""
    problem: dict[str, Any] = json.loads(done.err)["error"]
    return problem


def assert_as_expected(told: VerifyReport, cannot: Sequence[str] = ()) -> None:
    """Every step was taken and is as the adapter promises."""
    wanted = {name: "cannot" if name in cannot else "ok" for name in STEPS}
    assert by_name(told) == wanted, [step for step in told.steps if step.result != "ok"]
    assert (told.verdict, told.remaining) == ("as expected", ())
    command, stop = told.runs
    assert (command.exit_code, command.reason) == (7, "exited")
    assert (stop.state, len(stop.charged)) == ("cancelled", 1)
    assert {"prepare", "commit", "cancel", "usage"} <= {call.step for call in told.calls}
