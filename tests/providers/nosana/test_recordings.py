"""Each recording of the real service meets the adapter; what it makes of it stands in `MEANS`.

The recordings are played over a real socket. `NEVER_SENT` are those that no call of the adapter can
meet, with the reason; the simulator's own tests say which of them it answers.
"""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from providers.errors import ProviderError
from providers.nosana import NosanaConfig, results, snapshots, wire
from providers.nosana.api import NosanaApi
from tests.support.recordings import Recording, load, needs, playing

pytestmark = needs("nosana")
RECORDINGS = load("nosana")

_STATE = "WrongState: Deployment is in the incorrect state."
_ARCHIVED = "WrongState: Cannot modify an archived deployment."
_INVALID = "Refused: Bad Request"
_BROKEN = "OutcomeUnknown: answers with 500: Internal Server Error"
_GONE = "Gone: Deployment not found."
_EXPIRED = "exited 124: the network ended it at its own time limit: Operation stopped due to flow"
_NO_RESULT = "lost: it has ended and the node sent no result: the node vanished, or its log was "
_NO_RESULT += "longer than the 1 MiB that Nosana takes"

NEVER_SENT = {
    "events-none": "the adapter asks for no events",
    "life-1-tasks": "the adapter asks for no tasks",
    "life-5-tasks": "the adapter asks for no tasks",
    "results-post-again": "a node's call",
    "results-post-bad-body": "a node's call",
    "results-post-over-1-mib": "a node's call; its outcome is met as job-result-lost-over-1-mib",
    "results-post-unknown-job": "a node's call",
    "results-post-wrong-node": "a node's call",
    "route-unknown": "the adapter calls no such route; see test_trouble for a 404 of somebody else",
}

MEANS = {
    # Made, or refused; what is not known to have had no effect is looked for by its name.
    "create-autostart": "deployment STARTING",
    "create-draft": "deployment DRAFT",
    "create-body-just-under-1-mib": "deployment DRAFT",
    "create-confidential-false": "deployment DRAFT",
    "create-definition-no-ops": "deployment DRAFT",
    "create-empty-name": "deployment DRAFT",
    "create-exposed-port": "deployment DRAFT, ports 8080 9090",
    "create-long-name": "deployment DRAFT",
    "create-market-unknown": "deployment DRAFT",
    "create-same-name-again": "deployment DRAFT",
    "create-unknown-field": "deployment DRAFT",
    "create-body-over-1-mib": "Refused: Request body is too large",
    "create-definition-bad-type": _INVALID,
    "create-definition-env-number": _INVALID,
    "create-definition-no-image": _INVALID,
    "create-definition-same-op-ids": _INVALID,
    "create-definition-unknown-arg": _INVALID,
    "create-infinite-timeout-59": _INVALID,
    "create-replicas-text": _INVALID,
    "create-scheduled-without-schedule": _INVALID,
    "create-strategy-unknown": _INVALID,
    "create-timeout-0": _INVALID,
    "create-vault-and-new-vault": _INVALID,
    "create-without-job-definition": _INVALID,
    "create-without-market": _INVALID,
    "create-without-timeout": _INVALID,
    "create-vault-unknown": "Refused: Vault not found.",
    "create-empty-body": _BROKEN,
    "create-not-json": _BROKEN,
    # A wrong state is a refusal without an effect, though its status is 500.
    "archive-then": "done",
    "archived-delete": _STATE,
    "archived-start": _STATE,
    "delete-again": _GONE,
    "delete-stopped": "done",
    "life-4-stop-running": "done",
    "start-unknown-deployment": _GONE,
    "start-with-content-type": _BROKEN,
    "state-archived-archive": _ARCHIVED,
    "state-archived-delete": _STATE,
    "state-archived-start": _STATE,
    "state-archived-stop": _ARCHIVED,
    "state-draft-archive": _STATE,
    "state-draft-delete": _STATE,
    "state-draft-start": "done",
    "state-draft-stop": _STATE,
    "state-error-archive": _STATE,
    "state-error-stop": "done",
    "state-insufficient-funds-archive": _STATE,
    "state-insufficient-funds-delete": _STATE,
    "state-insufficient-funds-start": "done",
    "state-insufficient-funds-stop": "done",
    "state-running-archive": _STATE,
    "state-running-delete": _STATE,
    "state-running-stop": "done",
    "state-starting-archive": _STATE,
    "state-starting-start": _STATE,
    "state-starting-stop": _STATE,
    "state-stopped-archive": "done",
    "state-stopped-delete": "done",
    "state-stopped-stop": _STATE,
    "state-stopping-archive": _STATE,
    "state-stopping-delete": _STATE,
    "state-stopping-start": _STATE,
    # Reads.
    "auth-bad-signature": "AuthenticationFailed: refuses the API key; make one in its dashboard "
    "and set `api_key`",
    "auth-user-id-no-address": "Unavailable: answers with 500: Internal Server Error",
    "get-after-autostart": "deployment RUNNING",
    "get-deleted": "none",
    "get-of-other-owner": "none",
    "get-with-jobs": "deployment DRAFT, 2 active",
    "life-2-job-completed": "deployment STOPPED",
    "life-5-stopping": "deployment STOPPING",
    "state-archived-get": "deployment ARCHIVED",
    "state-draft-get": "deployment DRAFT",
    "state-insufficient-funds-get": "deployment INSUFFICIENT_FUNDS",
    "state-running-get": "deployment RUNNING",
    "state-starting-get": "deployment STARTING",
    "state-stopped-get": "deployment STOPPED",
    "state-stopping-get": "deployment STOPPING",
    "jobs-by-state": "runs RUNNING RUNNING QUEUED",
    # Lists: the adapter asks on while there is a cursor, and puts the oldest first.
    "list-asc": "10 deployments, the oldest 00",
    "list-back": "10 deployments, the oldest 04",
    "list-default": "10 deployments, the oldest 13",
    "list-limit-20": "20 deployments, the oldest 03",
    "list-name-and-status": "1 deployments, the oldest 06",
    "list-name-none": "0 deployments",
    "list-other-owner": "0 deployments",
    "list-search": "5 deployments, the oldest 01",
    "list-second-page": "10 deployments, the oldest 03",
    "list-status": "2 deployments, the oldest 05",
    "list-status-unknown": "0 deployments",
    "list-unknown-parameter": "10 deployments, the oldest 13",
    "list-limit-15": "Unavailable: querystring/limit must be number",
    "list-sort-unknown": "Unavailable: querystring/sort_order must be equal to constant",
    # Results: an exit code counts only if a container was started and nobody has ended it.
    "job-unknown": "none",
    "job-completed-result-on-ipfs": _NO_RESULT,
    "job-completed-without-result": _NO_RESULT,
    "job-result-lost-over-1-mib": _NO_RESULT,
    "job-stopped-while-queued": "lost: it was stopped; the node sent no result",
    "job-result-success": "exited 0 | out | err",
    "job-result-no-newline-at-the-end": "exited 0 | a | b",
    "job-result-results-from-logs": "exited 0 | RESULT 42 | other",
    "job-result-failing-command": "exited 7 | out",
    "job-result-killed-137": "exited 137",
    "job-result-two-ops-first-fails": "exited 7 | second",
    "job-result-expired-term-handled": f"{_EXPIRED} expired | out",
    "job-result-expired-while-pulling": f"{_EXPIRED} expired",
    "job-result-expired-while-running": f"{_EXPIRED} expired | out",
    "job-result-host-quit-while-running": "lost: the node was shut down: Operation stopped due to "
    "flow quit | out",
    "job-result-stopped-before-start": "lost: it was stopped",
    "job-result-stopped-while-pulling": "lost: it was stopped: Operation stopped due to flow "
    "stopped",
    "job-result-stopped-while-running": "lost: it was stopped: Operation stopped due to flow "
    "stopped | out",
    "job-result-runtime-error": "lost, unfit: the node could not run it: Cannot start container: "
    "crun: executable file `nosuch` not found in $PATH: No such file or directory",
}
"""What the adapter makes of each: what it returns, or the error that it raises."""


def test_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Every recording is met, or named with the reason."""
    assert set(MEANS) | set(NEVER_SENT) == set(RECORDINGS)
    assert not set(MEANS) & set(NEVER_SENT)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nnosana: {len(RECORDINGS)} recordings and openapi.json; the adapter meets "
            f"{len(MEANS)}, {len(NEVER_SENT)} answer calls that it never makes"
        )


@pytest.mark.parametrize("case", MEANS)
async def test_what_it_makes_of_it(case: str) -> None:
    played = [RECORDINGS[case]]
    if case.startswith("list"):
        played.append(RECORDINGS["list-name-none"])  # whoever asks on gets an empty last page
    async with playing(*played, tls=False) as player:
        api = NosanaApi(NosanaConfig(api_key=SecretStr("nos_x"), url=player.url))
        try:
            seen = await asked(api, RECORDINGS[case])
        except ProviderError as error:
            said = str(error).removeprefix("Nosana").lstrip(": ")
            seen = f"{type(error).__name__}: {said}"
        finally:
            await api.aclose()
    # What the service's own check says is long, and told once.
    assert seen.partition(", querystring")[0] == MEANS[case]


async def asked(api: NosanaApi, recording: Recording) -> str:
    """The adapter's call that would have got this answer, and what came of it."""
    method = recording.request.method
    parts = recording.request.path.partition("?")[0].strip("/").split("/")
    if method == "POST" and parts[-1] == "create":
        return deployment(await api.create({}))
    if method == "POST":
        await api.act("x", parts[-1])
        return "done"
    if method == "DELETE":
        await api.delete("x")
        return "done"
    if len(parts) == 1:
        deployments = await api.deployments()
        oldest = f", the oldest {deployments[0].id[-3:-1]}" if deployments else ""
        return f"{len(deployments)} deployments{oldest}"
    if len(parts) == 2:
        return deployment(await api.deployment("x"))
    if len(parts) == 3:
        return " ".join(["runs", *(job.state for job in await api.jobs("x"))])
    return run(await api.job("x", "y"))


def deployment(answer: wire.Deployment | None) -> str:
    if answer is None:
        return "none"
    ports = " ".join(str(endpoint.port) for endpoint in answer.endpoints)
    active = f", {answer.active_jobs} active" if answer.active_jobs else ""
    return f"deployment {answer.status}{f', ports {ports}' if ports else ''}{active}"


def run(detail: wire.JobDetail | None) -> str:
    if detail is None:
        return "none"
    owner: dict[str, Any] = json.loads(RECORDINGS["get-after-autostart"].answer.body or b"")
    snapshot = snapshots.of_run("k", wire.Deployment.model_validate(owner), detail)
    code = "" if snapshot.exit_code is None else f" {snapshot.exit_code}"
    unfit = ", unfit" if snapshot.unfit else ""
    message = f": {snapshot.message}" if snapshot.message else ""
    lines = [line.text for line in results.lines_of(detail, "k")]
    return " | ".join([f"{snapshot.state.value}{code}{unfit}{message}", *lines])


@pytest.mark.parametrize("case", [case for case in RECORDINGS if case.startswith("job-result")])
async def test_nothing_that_was_ended_is_a_success(case: str) -> None:
    """The same by another way: only the recordings of commands that ended well exit with 0."""
    well = {"success", "no-newline-at-the-end", "results-from-logs"}
    detail = wire.JobDetail.model_validate_json(RECORDINGS[case].answer.body or b"")
    assert (" 0" in run(detail).partition("|")[0]) == (case.removeprefix("job-result-") in well)
