"""From an image reference to what Golem runs: a GVMI file with its hash.

No provider pulls from a container registry. In this order: a package that the job names itself,
the configured map, Golem's own registry, what was converted before, a conversion with
`gvmkit-build` where that is installed.
"""

import asyncio
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import httpx

from cortex.faultpoints import http_hooks
from providers.base import Report
from providers.errors import ImageUnavailable, NoSuchImage, Unavailable, Unsuitable
from providers.golem.config import GolemConfig
from providers.registries import pull_trouble

_PACKAGE = re.compile(r"hash:sha3:[0-9a-f]{56}:https?://\S+")
_IMAGE_INFO = "/v1/image/info"
_DIGEST = re.compile(r"[0-9a-f]{56}")
_TIMEOUT = 15.0
_CONVERSION = 30 * 60.0
_running: dict[str, asyncio.Lock] = {}


class Images:
    """Finds the package of an image."""

    def __init__(self, config: GolemConfig) -> None:
        self._config = config
        self._known: dict[str, str] = {}
        self._converted_before: tuple[str, ...] = ()

    async def look(self) -> None:
        """Read which images were converted before: see `mapped`."""
        self._converted_before = await asyncio.to_thread(self._noted)

    def form(self) -> str:
        """A pattern for the images that there is any way to get at; empty: all."""
        if self._can_convert():
            return ""
        if self._config.registry_url:
            return rf"{_PACKAGE.pattern}|(?:golem:)?(?:{_DIGEST.pattern}|.*/.*)"
        return _PACKAGE.pattern

    def mapped(self) -> tuple[str, ...]:
        """Images beside those that can be had: by the configuration, or by an old conversion."""
        usable = [
            image
            for image, wanted in self._config.images.items()
            if self._config.registry_url or _PACKAGE.fullmatch(wanted)
        ]
        return (*usable, *self._converted_before)

    async def package(self, image: str | None, report: Report) -> str:
        """The value of `golem.srv.comp.task_package`.

        Raises:
            ImageUnavailable: this image cannot be had here; says what can be done.
            NoSuchImage: there is none to convert, by its own registry.
            Unsuitable: there is no way to convert it on this machine.
        """
        if image is None:
            raise Unsuitable("Golem runs images only; name an `image`")
        wanted = self._config.images.get(image, image)
        if _PACKAGE.fullmatch(wanted):
            return wanted
        if image in self._known:
            return self._known[image]
        package = await self._looked_up(wanted)
        if package is None:
            package = self._cached(image)
        if package is None and self._can_convert():
            package = await self._converted(image, report)
        if package is None:
            raise ImageUnavailable(self._no_way(image))
        self._known[image] = package
        return package

    def _no_way(self, image: str) -> str:
        return (
            f"Golem runs GVMI images only and has none for `{image}`: convert it with "
            "`gvmkit-build <image> --push-to <user>/<repository>:<tag>` and name that tag, or map "
            "the image in `images` of this provider, or set `gvmkit_build` and `push_to` so that "
            "Cortex converts it"
        )

    async def _looked_up(self, tag: str) -> str | None:
        """What Golem's registry has under a tag or a hash."""
        base = self._config.registry_url
        if not base:
            return None
        name = tag.removeprefix("golem:")
        key = "hash" if _DIGEST.fullmatch(name) else "tag"
        if key == "tag" and "/" not in name:
            return None  # tags of the registry are `user/repository:tag`
        if key == "tag" and ":" not in name.rpartition("/")[2]:
            name += ":latest"
        try:
            hooks = http_hooks("golem registry")
            async with httpx.AsyncClient(timeout=_TIMEOUT, event_hooks=hooks) as client:
                answer = await client.get(
                    f"{base}{_IMAGE_INFO}", params={key: name, "count": "true"}
                )
                info = answer.json() if answer.is_success else None
        except (httpx.HTTPError, ValueError):
            raise Unavailable("Golem's image registry does not answer") from None
        if answer.status_code >= 500:
            raise Unavailable("Golem's image registry is out of order")
        return _from_info(info)

    def _can_convert(self) -> bool:
        return bool(self._config.gvmkit_build and self._config.push_to)

    def _folder(self) -> Path:
        named = self._config.image_cache
        return Path(named) if named else Path.home() / ".cache" / "cortex" / "golem"

    def _note(self, image: str) -> Path:
        return self._folder() / f"{hashlib.sha256(image.encode()).hexdigest()[:40]}.json"

    def _cached(self, image: str) -> str | None:
        """What was converted before; a tag that can move is trusted all the same until removed."""
        try:
            kept = json.loads(self._note(image).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        package = str(kept.get("package", ""))
        return package if kept.get("image") == image and _PACKAGE.fullmatch(package) else None

    def _noted(self) -> tuple[str, ...]:
        images = []
        for note in self._folder().glob("*.json"):
            try:
                image = str(json.loads(note.read_text(encoding="utf-8")).get("image", ""))
            except (OSError, ValueError, AttributeError):
                continue
            if self._cached(image) is not None:
                images.append(image)
        return tuple(sorted(images))

    async def _converted(self, image: str, report: Report) -> str:
        """Convert and upload once, however many jobs wait for it."""
        async with _running.setdefault(image, asyncio.Lock()):
            there = self._cached(image)
            if there is not None:
                return there
            await report(f"converting image {image} for Golem")
            target = f"{self._config.push_to}:{_tag(image)}"
            await self._gvmkit(image, target)
            package = await self._looked_up(target)
            if package is None:
                raise ImageUnavailable(
                    f"`{image}` was converted and pushed to `{target}`, but Golem's registry does "
                    "not show it; look there whether the repository is public"
                )
            await asyncio.to_thread(self._keep, image, package)
            return package

    async def _gvmkit(self, image: str, target: str) -> None:
        user = self._config.push_to.partition("/")[0]
        token = self._config.registry_token.get_secret_value()
        login = [] if token else ["--nologin"]
        with tempfile.TemporaryDirectory(prefix="cortex-gvmi-") as folder:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._config.gvmkit_build, image, "--push-to", target, "--hide-progress",
                    *login,
                    cwd=folder,
                    env={**os.environ, "REGISTRY_USER": user, "REGISTRY_TOKEN": token},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )  # fmt: skip
            except OSError as error:
                raise Unsuitable(
                    f"`gvmkit_build` of this provider cannot be run: {error.strerror}"
                ) from None
            try:
                said, _ = await asyncio.wait_for(process.communicate(), _CONVERSION)
            except BaseException:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                raise
        if process.returncode != 0:
            text = said.decode(errors="replace").strip().splitlines()
            last = text[-1][:200] if text else f"exit code {process.returncode}"
            if token:
                last = last.replace(token, "**********")
            raise _unconverted(image, last)

    def _keep(self, image: str, package: str) -> None:
        note = self._note(image)
        note.parent.mkdir(parents=True, exist_ok=True)
        fresh = note.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"image": image, "package": package}), encoding="utf-8")
        fresh.replace(note)


def _from_info(info: Any) -> str | None:
    if not isinstance(info, dict) or not _DIGEST.fullmatch(str(info.get("sha3", ""))):
        return None
    url = info.get("https") or info.get("http")
    return f"hash:sha3:{info['sha3']}:{url}" if url else None


def _unconverted(image: str, said: str) -> ImageUnavailable | NoSuchImage:
    text = f"`{image}` cannot be converted for Golem: {said}"
    missing = pull_trouble(said, image) == "missing"
    return NoSuchImage(text) if missing else ImageUnavailable(text)


def _tag(image: str) -> str:
    """A tag of the registry that stands for one image reference."""
    name = re.sub(r"[^a-z0-9.-]+", "-", image.lower()).strip("-.")[-40:]
    return f"{name}-{hashlib.sha256(image.encode()).hexdigest()[:8]}"
