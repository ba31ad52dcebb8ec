"""Pulling images: progress in words, failures sorted, credentials only to their registry."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal
from urllib.parse import quote

from providers.base import Report
from providers.docker.config import RegistryAuth
from providers.docker.engine import Engine, EngineRefused
from providers.errors import ImageUnavailable, NoSuchImage, PullFailed, RateLimited
from providers.registries import pull_trouble

# A registry may be silent for long while a large layer is unpacked.
_SILENCE = 600.0
_STEP = 5


async def has_image(engine: Engine, image: str) -> bool:
    """Whether the engine has the image already."""
    try:
        await engine.get(f"/images/{quote(image, safe='/:@')}/json")
    except EngineRefused as refused:
        if refused.status == 404:
            return False
        raise
    return True


async def ensure_image(
    engine: Engine,
    image: str,
    report: Report,
    *,
    policy: Literal["missing", "always", "never"],
    registries: tuple[RegistryAuth, ...] = (),
) -> None:
    """Have the image at the engine, pulled if the policy says so.

    Raises:
        NoSuchImage: its registry has none such, or refuses it.
        ImageUnavailable: it is not here, and this provider pulls none.
        PullFailed: it cannot be had now, such as when its registry is away.
    """
    if policy != "always" and await has_image(engine, image):
        return
    if policy == "never":
        raise ImageUnavailable(
            f"image `{image}` is not on this machine, and this provider pulls none "
            "(`pull: never`); load it there first"
        )
    await report(f"pulling {image}")
    repository, tag = split_reference(image)
    headers = auth_header(image, registries)
    progress = PullProgress(image)
    try:
        async with engine.stream(
            "POST",
            "/images/create",
            params={"fromImage": repository, "tag": tag},
            headers=headers,
            read_timeout=_SILENCE,
        ) as answer:
            async for update in json_items(answer.aiter_bytes()):
                text = progress.feed(update)
                if text:
                    await report(text)
    except EngineRefused as refused:
        raise pull_error(image, refused.message) from None
    await report(f"pulled {image}")


class PullProgress:
    """Turns the messages of a pull into few sentences."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}
        self._told = 0

    def feed(self, update: dict[str, Any]) -> str | None:
        """A sentence if there is something new to say.

        Raises:
            PullFailed, RateLimited, NoSuchImage: the message says that the pull has failed.
        """
        if update.get("error"):
            raise pull_error(self._image, str(update["error"]))
        detail = update.get("progressDetail") or {}
        layer, total = str(update.get("id", "")), int(detail.get("total") or 0)
        if layer and total > 0 and "xtract" not in str(update.get("status", "")):
            current = min(int(detail.get("current") or 0), total)
            self._layers[layer] = (max(current, self._layers.get(layer, (0, 0))[0]), total)
        elif layer in self._layers and "complete" in str(update.get("status", "")).lower():
            self._layers[layer] = (self._layers[layer][1],) * 2
        return self._sentence()

    def _sentence(self) -> str | None:
        whole = sum(total for _, total in self._layers.values())
        percent = (
            100 * sum(current for current, _ in self._layers.values()) // whole if whole else 0
        )
        # New layers become known on the way; what was said once is not taken back.
        if percent < self._told + _STEP:
            return None
        self._told = percent - percent % _STEP
        return f"pulling {self._image}: {self._told} %"


async def json_items(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream, however it is cut into chunks; other text is left out."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            for parsed in _objects(line):
                yield parsed
    for parsed in _objects(rest):
        yield parsed


def pull_error(image: str, reason: str) -> PullFailed | RateLimited | NoSuchImage:
    """Why an image cannot be had, as the error that the workflow decides by."""
    text = reason.lower()
    if "toomanyrequests" in text or "too many requests" in text or "rate limit" in text:
        return RateLimited(f"the registry of image `{image}` refuses more pulls now: {reason}")
    if pull_trouble(reason, image) == "missing":
        return NoSuchImage(
            f"image `{image}` does not exist or may not be pulled: {reason}; "
            "check its name and tag, or give this provider credentials for its registry"
        )
    return PullFailed(f"image `{image}` cannot be pulled: {reason}")


def split_reference(image: str) -> tuple[str, str]:
    """Repository, and tag or digest; `latest` if it names none (else all tags were pulled)."""
    repository, at, digest = image.partition("@")
    if at:
        return _without_tag(repository)[0], digest
    repository, tag = _without_tag(image)
    return repository, tag or "latest"


def registry_of(image: str) -> str:
    """The registry's host; Docker's own for short names."""
    host, slash, _ = image.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return host
    return "docker.io"


def auth_header(image: str, registries: tuple[RegistryAuth, ...]) -> dict[str, str]:
    """The header with the credentials for the image's registry, if there are any."""
    for auth in registries:
        if auth.server == registry_of(image):
            data = {
                "username": auth.username,
                "password": auth.password.get_secret_value(),
                "serveraddress": auth.server,
            }
            return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(data).encode()).decode()}
    return {}


def _without_tag(reference: str) -> tuple[str, str]:
    head, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return head + slash + name, tag


def _objects(line: bytes) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    text = line.decode(errors="replace").strip()
    while text:
        try:
            parsed, end = decoder.raw_decode(text)
        except ValueError:
            return
        if isinstance(parsed, dict):
            yield parsed
        text = text[end:].lstrip()
