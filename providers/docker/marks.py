"""Durable marks at the engine, made of empty volumes with labels.

The engine API has no "start once": a second `start` runs an ended container again, and Podman
forgets that a command could not be started. Both facts must outlive the worker and be seen by
every worker, so they are kept where the containers are. Creating a volume under a name that is
taken answers with the first one's labels, which makes it an atomic first-come-first-served mark.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from providers.docker.engine import Engine, EngineRefused, filters, segment
from providers.docker.names import ACCOUNT, END, KEY, MESSAGE, SINCE, TOKEN
from providers.docker.wire import Volume, Volumes
from providers.errors import Unavailable

_CANCELLED = "cancelled"


@dataclass(frozen=True)
class Claim:
    """The right to start a container: `won` by us, or `age` seconds old and another's."""

    won: bool
    age: float


@dataclass(frozen=True)
class End:
    """How a container has ended of which the engine cannot tell.

    Its command could not be started, it was cancelled before, or Cortex has killed it.
    """

    exit_code: int | None
    message: str

    @property
    def cancelled(self) -> bool:
        return self.exit_code is None


class Marks:
    """The marks of one account."""

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = account

    async def claim_start(self, key: str, turn: int) -> Claim:
        """Claim the start; a later `turn` takes over from a worker that died in between."""
        token = uuid.uuid4().hex
        labels = {TOKEN: token, SINCE: f"{time.time():.3f}"}
        kept = await self._put(f"cortex-{key}.start{turn}", key, labels)
        try:
            age = max(0.0, time.time() - float(kept.get(SINCE, "")))
        except ValueError:
            age = 0.0
        return Claim(won=kept.get(TOKEN) == token, age=age)

    async def put_end(self, key: str, end: End) -> End:
        """Note how it ended; what was noted first stands and is returned."""
        code = _CANCELLED if end.exit_code is None else str(end.exit_code)
        return _end(
            await self._put(f"cortex-{key}.end", key, {END: code, MESSAGE: end.message[:500]})
        )

    async def end(self, key: str) -> End | None:
        try:
            volume = await self._engine.get_one(f"/volumes/{segment(f'cortex-{key}.end')}")
        except EngineRefused as refused:
            if refused.missing:
                return None
            raise
        return _end(_volume(volume).labels or {})

    async def ends(self) -> dict[str, End]:
        """The ends of all leases that never ran, by key; in one call."""
        return {
            volume.labels[KEY]: _end(volume.labels)
            for volume in await self.volumes(f"{ACCOUNT}={self._account}")
            if volume.labels and KEY in volume.labels and END in volume.labels
        }

    async def keys(self) -> set[str]:
        """The keys of all leases that have a volume left."""
        volumes = await self.volumes(f"{ACCOUNT}={self._account}")
        return {volume.labels[KEY] for volume in volumes if volume.labels and KEY in volume.labels}

    async def volumes(self, label: str) -> tuple[Volume, ...]:
        volumes = await self._engine.get_list("/volumes", {"filters": filters(label=label)})
        return _volumes(volumes)

    async def put_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """A volume of this name: made, or the one that is there with the labels it has."""
        body = {"Name": name, "Labels": {ACCOUNT: self._account, **labels}}
        try:
            answer = await self._engine.call("POST", "/volumes/create", body=body, repeatable=True)
        except EngineRefused as refused:
            # Podman: two creations at the same moment.
            if "already exists" not in refused.message:
                raise
            return _volume(await self._engine.get(f"/volumes/{segment(name)}"))
        return _volume(answer.json())

    async def remove_volumes(self, key: str) -> None:
        """Remove all volumes of a lease, marks included; persistent ones do not carry its key."""
        for volume in await self.volumes(f"{KEY}={key}"):
            if (volume.labels or {}).get(ACCOUNT) == self._account:
                await self._remove(volume.name)

    async def _remove(self, name: str) -> None:
        try:
            await self._engine.call("DELETE", f"/volumes/{segment(name)}", repeatable=True)
        except EngineRefused as refused:
            if not refused.missing:
                raise

    async def _put(self, name: str, key: str, labels: Mapping[str, str]) -> dict[str, str]:
        return (await self.put_volume(name, {KEY: key, **labels})).labels or {}


def _end(labels: Mapping[str, str]) -> End:
    code = labels.get(END, "")
    number = int(code) if code.isdigit() else None
    return End(exit_code=number, message=labels.get(MESSAGE, ""))


def _volume(data: object) -> Volume:
    try:
        return Volume.model_validate(data)
    except ValidationError:
        raise Unavailable("the container engine described a volume in a way not known") from None


def _volumes(data: object) -> tuple[Volume, ...]:
    try:
        return Volumes.model_validate(data).volumes or ()
    except ValidationError:
        raise Unavailable("the container engine listed volumes in a way not known") from None
