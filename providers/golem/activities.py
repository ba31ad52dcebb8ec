"""Activities: where a batch of commands runs at a provider."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from providers.errors import OutcomeUnknown, ProviderError, Unavailable
from providers.golem.config import GolemConfig
from providers.golem.daemon import Daemon, parse
from providers.golem.wire import ActivityCreated, ActivityState, ActivityUsage, CommandResult

ACTIVITY = "/activity-api/v1"
_CODE = re.compile(r"exited with code (-?\d+)")
# What the daemon says of an activity whose exe-unit is no longer there.
_GONE = ("no service registered", "not found", "receiver was cancelled", "endpoint not found")
_NO_SUCH = (404, 500)


class UnitGone(ProviderError):
    """Nobody answers for this activity any more. Never leaves the adapter."""


@dataclass(frozen=True)
class Ran:
    """What one command of a batch gave."""

    ok: bool
    exit_code: int | None
    stdout: bytes
    stderr: bytes
    message: str


class Activities:
    """Calls that a provider's exe-unit answers, through the daemon."""

    def __init__(self, daemon: Daemon, config: GolemConfig) -> None:
        self._daemon = daemon
        self._config = config
        self.first_batch: dict[str, str] = {}
        """The starting batch of each activity. A hint: it tells early why a deployment failed, and
        where it is lost with the process, the time limit of the deployment tells it late."""

    async def of(self, agreement_id: str) -> list[str]:
        """The activities of an agreement; the daemon notes one only once it is there."""
        return await self._daemon.get(
            list[str], f"{ACTIVITY}/activity", params={"agreementId": agreement_id}
        )

    async def create(self, agreement_id: str) -> str | None:
        """A new activity; None where the provider gives none.

        Raises:
            OutcomeUnknown: it may be there; `of` tells.
        """
        seconds = self._config.activity_timeout.total_seconds()
        answer = await self._daemon.effect(
            "POST",
            f"{ACTIVITY}/activity",
            {"agreementId": agreement_id},
            params={"timeout": seconds},
            expect=(400, 404, 408),
            wait=seconds,
        )
        if not answer.ok:
            return None
        try:
            return parse(ActivityCreated, answer.body, "/activity").activity_id
        except Unavailable as error:
            raise OutcomeUnknown(str(error)) from None

    async def state(self, activity_id: str) -> ActivityState | None:
        """Its state; None where the daemon knows no such activity (it says so with a 500)."""
        path = f"{ACTIVITY}/activity/{activity_id}/state"
        answer = await self._daemon.read(path, expect=_NO_SUCH)
        if answer.ok:
            return parse(ActivityState, answer.body, path)
        if answer.status == 404 or "not found" in answer.message.lower():
            return None
        raise Unavailable(f"the yagna daemon does not tell the activity's state: {answer.message}")

    async def usage(self, activity_id: str) -> ActivityUsage | None:
        """Its counters; None where nothing is known of them."""
        path = f"{ACTIVITY}/activity/{activity_id}/usage"
        answer = await self._daemon.read(path, expect=_NO_SUCH)
        return parse(ActivityUsage, answer.body, path) if answer.ok else None

    async def destroy(self, activity_id: str) -> None:
        """End it with all that runs in it. A repeat succeeds.

        Raises:
            Unavailable: it is not certain that it has ended.
        """
        problem = ""
        try:
            answer = await self._daemon.effect(
                "DELETE",
                f"{ACTIVITY}/activity/{activity_id}",
                params={"timeout": 30},
                expect=(404, 408, 500),
                wait=30,
            )
            if answer.ok or answer.status == 404:
                return
            problem = answer.message
        except OutcomeUnknown as error:
            problem = str(error)
        state = await self.state(activity_id)
        if state is not None and state.state[0] != "Terminated":
            raise Unavailable(f"the activity could not be destroyed yet: {problem}")

    async def start(self, activity_id: str, script: Sequence[dict[str, Any]]) -> str:
        """Hand a batch over; its id.

        Raises:
            OutcomeUnknown: it may have been taken; never hand it over again.
        """
        answer = await self._daemon.effect(
            "POST",
            f"{ACTIVITY}/activity/{activity_id}/exec",
            {"text": json.dumps(list(script))},
            wait=20,
        )
        return parse(str, answer.body, "/exec")

    async def results(
        self, activity_id: str, batch: str, seconds: float
    ) -> dict[int, CommandResult]:
        """What has finished of a batch, by index: every answer repeats all of it."""
        path = f"{ACTIVITY}/activity/{activity_id}/exec/{batch}"
        answer = await self._daemon.read(
            path, params={"timeout": round(seconds, 2)}, expect=(404, 408, 500), wait=seconds
        )
        if answer.status == 408:
            return {}
        if not answer.ok:
            if any(text in answer.message.lower() for text in _GONE):
                raise UnitGone(answer.message)
            raise Unavailable(f"the provider does not answer: {answer.message}")
        return {result.index: result for result in parse(list[CommandResult], answer.body, path)}

    async def finished(
        self, activity_id: str, batch: str, patience: float
    ) -> list[CommandResult] | None:
        """The results of a whole batch in order; None where it has not ended in time."""
        ends = time.monotonic() + patience
        while (left := ends - time.monotonic()) > 0:
            results = await self.results(activity_id, batch, min(left, 15.0))
            if any(result.is_batch_finished for result in results.values()):
                return [results[index] for index in sorted(results)]
            await asyncio.sleep(0.05)
        return None

    async def ask(self, activity_id: str, words: Sequence[str], limit: int, patience: float) -> Ran:
        """Run a command that only reads, and take what it prints.

        It changes nothing, so a lost answer does no harm.

        Raises:
            Unavailable: no answer in time.
            UnitGone: there is nobody to ask any more.
        """
        program, *args = words
        capture = {
            "stdout": {"atEnd": {"head": limit, "format": "bin"}},
            "stderr": {"atEnd": {"tail": 2048, "format": "str"}},
        }
        run = {"run": {"entry_point": program, "args": args, "capture": capture}}
        try:
            batch = await self.start(activity_id, [run])
        except OutcomeUnknown as error:
            if any(text in str(error).lower() for text in _GONE):
                raise UnitGone(str(error)) from None
            raise Unavailable(str(error)) from None
        done = await self.finished(activity_id, batch, patience)
        if not done:
            raise Unavailable(f"the provider gave no answer within {patience:g} s")
        return ran(done[0])


def ran(result: CommandResult) -> Ran:
    """A result with its exit code, which the daemon tells in words only."""
    message = result.message or ""
    match = _CODE.search(message)
    code = int(match[1]) if match else (0 if result.result == "Ok" else None)
    return Ran(
        ok=result.result == "Ok",
        exit_code=code,
        stdout=_bytes(result.stdout),
        stderr=_bytes(result.stderr),
        message=message[:300],
    )


def _bytes(output: str | list[int] | None) -> bytes:
    if output is None:
        return b""
    return output.encode() if isinstance(output, str) else bytes(output)
