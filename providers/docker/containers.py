"""What can be done to one container; shared by all parts of the provider."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from providers.docker.engine import Engine, EngineRefused, Method, filters, segment
from providers.docker.wire import Container, Listed, Stats
from providers.errors import InvalidSpec, Unavailable

_ARCHIVE_TIMEOUT = 600
_REMOVAL_PAUSE = 0.1
_SETTLE_PAUSE = 0.05
_REMOVAL_TRIES = 100


class Containers:
    """The containers of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def inspect(self, name_or_id: str) -> Container | None:
        """The container, or None if the engine definitely has none of this name."""
        try:
            container = await self.engine.get_one(f"/containers/{segment(name_or_id)}/json")
        except EngineRefused as refused:
            if refused.missing:
                return None
            raise
        try:
            return Container.model_validate(container)
        except ValidationError:
            raise _not_understood() from None

    async def listed(self, label: str) -> list[Listed]:
        """All containers with this label, ended ones too, in one call."""
        return await self._list({"all": "1", "filters": filters(label=label)})

    async def sizes(self, label: str) -> list[Listed]:
        """As `listed`, with what each has written; the engine walks over all of their files."""
        return await self._list({"all": "1", "size": "1", "filters": filters(label=label)})

    async def _list(self, params: dict[str, str]) -> list[Listed]:
        listed = await self.engine.get_list("/containers/json", params)
        try:
            return [Listed.model_validate(container) for container in listed]
        except (ValidationError, TypeError):
            raise _not_understood() from None

    async def stats(self, container_id: str) -> Stats | None:
        """What a running container takes of the machine; None if it does not run (any more)."""
        path = f"/containers/{segment(container_id)}/stats"
        try:
            answer = await self.engine.get_raw(path, {"stream": "false", "one-shot": "true"})
        except EngineRefused as refused:
            if refused.missing or refused.status == 409:
                return None
            raise
        if not answer.content.strip():  # Podman, of one that ended while it was asked
            return None
        try:
            return Stats.model_validate_json(answer.content)
        except ValidationError:
            raise Unavailable(
                "the container engine described what a container uses in a way not known"
            ) from None

    async def create(self, name: str, body: dict[str, Any]) -> str:
        """The id of the new container. Raises EngineRefused; `is_name_taken` tells that case."""
        answer = await self.engine.call(
            "POST", "/containers/create", params={"name": name}, body=body, timeout=120
        )
        return str(answer.json()["Id"])

    async def start(self, container_id: str, timeout: float) -> None:
        await self.engine.call(
            "POST", f"/containers/{segment(container_id)}/start", timeout=timeout
        )

    async def stop(self, container_id: str, grace: float) -> None:
        """SIGTERM, after `grace` seconds SIGKILL; and SIGKILL at once if that did not work."""
        path = f"/containers/{segment(container_id)}"
        whole = {"t": str(max(0, round(grace)))}
        try:
            await self.engine.call(
                "POST", f"{path}/stop", params=whole, timeout=grace + 30, repeatable=True
            )
        except EngineRefused as refused:
            if refused.missing:
                return
            await self._quietly("POST", f"{path}/kill")

    async def kill(self, container_id: str) -> None:
        """SIGKILL; one that does not run is left as it is."""
        await self._quietly("POST", f"/containers/{segment(container_id)}/kill")

    async def settled(self, container_id: str) -> None:
        """Wait out the moment between the end of the processes and the end of the log."""
        while True:
            box = await self.inspect(container_id)
            if box is None or box.state.ended or not box.state.over:
                return
            await asyncio.sleep(_SETTLE_PAUSE)

    async def remove_unstarted(self, container_id: str) -> None:
        """Remove it unless it runs: then the engine refuses, and nothing happens."""
        await self._quietly("DELETE", f"/containers/{segment(container_id)}")

    async def remove(self, name_or_id: str) -> None:
        """Remove it whatever it does, and wait until it is gone."""
        path = f"/containers/{segment(name_or_id)}"
        for _ in range(_REMOVAL_TRIES):
            await self._quietly("DELETE", path, {"force": "1", "v": "1"})
            if await self.inspect(name_or_id) is None:
                return
            await asyncio.sleep(_REMOVAL_PAUSE)
        raise Unavailable(f"the container engine does not remove container `{name_or_id}`")

    async def make_folder(self, container_id: str, path: str) -> None:
        """Make a folder inside; what the engine refuses (a read-only root) is left to the start."""
        from_root = path.strip("/")
        if from_root:
            await self._quietly(
                "PUT",
                f"/containers/{segment(container_id)}/archive",
                {"path": "/"},
                _tar_of_folder(from_root),
            )

    async def put_archive(self, container_id: str, folder: str, archive: Path) -> None:
        """Unpack a tar in a folder inside, which is made.

        Raises:
            InvalidSpec: the engine cannot write there.
        """
        await self.make_folder(container_id, folder)
        try:
            await self.engine.call(
                "PUT",
                f"/containers/{segment(container_id)}/archive",
                params={"path": folder},
                content=_chunks(archive),
                timeout=_ARCHIVE_TIMEOUT,
                repeatable=True,
            )
        except EngineRefused as refused:
            raise InvalidSpec(
                f"the files of the job cannot be put into `{folder}`: {refused.message}"
            ) from None

    async def _quietly(
        self,
        method: Method,
        path: str,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> None:
        try:
            await self.engine.call(
                method, path, params=params, content=content, timeout=60, repeatable=True
            )
        except EngineRefused:
            # The caller looks at what has become of the container, which decides.
            return


async def _chunks(archive: Path) -> AsyncIterator[bytes]:
    with archive.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, 1 << 20):
            yield chunk


def is_name_taken(refused: EngineRefused) -> bool:
    """Docker says 409; Podman 4 says 500 and means the same."""
    return refused.status == 409 or "already in use" in refused.message


def _not_understood() -> Unavailable:
    return Unavailable("the container engine described a container in a way not known")


def _tar_of_folder(path: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        parts = PurePosixPath(path).parts
        for depth in range(1, len(parts) + 1):
            entry = tarfile.TarInfo("/".join(parts[:depth]))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    return buffer.getvalue()
