"""Nothing secret, and nothing about the user's machine, gets into a report that is sent away."""

import getpass
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MASK = "•••"
_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|credential|auth|mnemonic|private|signature")
_SHORTEST = 6
_COMMON = {"root", "user", "admin", "runner", "ubuntu", "debian", "cortex", "local", "localhost"}
_PATTERNS = (
    # URLs: who logs in there, and what is asked (signatures, tokens); a path stays.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@\"'<>]+@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?\"'<>]+)\?[^\s\"'<>]+"), rf"\1?{MASK}"),
    (re.compile(r"(?is)-----BEGIN [A-Z ]+-----.*?(-----END [A-Z ]+-----|\Z)"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)?"), MASK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    (
        re.compile(
            r"(?i)([\w-]*(?:key|token|secret|password|passwd)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;]{6,}"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(?:ac\.sk|nos|sk|pk)[._-][\w.-]{8,}"), MASK),
)
_PATH = re.compile(
    r"(?<![\w:/.~•])(?:/(?:home|root|Users|var|tmp|srv|opt|mnt|data|work)(?:/[^\s\"'`,;:)\]]*)?)(?![\w-])"
)


class Scrubber:
    """Masks what it knows to be secret, and what looks like it.

    Args:
        secrets: Texts that are secret for certain.
        folders: Folders of this machine; the home is one of them anyway.
        environment: Its variables with telling names are secret too.
    """

    def __init__(
        self,
        secrets: Iterable[str | None] = (),
        folders: Iterable[Path] = (),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        named = [text for name, text in environment.items() if _SECRET_NAME.search(name)]
        known = {text for text in (*secrets, *named) if text and len(text) >= _SHORTEST}
        self._secrets = sorted(known, key=len, reverse=True)
        places = {str(folder) for folder in (*folders, Path.home())} - {"/", "."}
        self._folders = sorted(places, key=len, reverse=True)
        names = {socket.gethostname(), _user()} - _COMMON
        self._names = [name for name in names if len(name) > 3]

    def text(self, text: str) -> str:
        """The text as it may be sent away."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for folder in self._folders:
            text = text.replace(folder, "~")
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        text = _PATH.sub("<path>", text)
        for name in self._names:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", MASK, text)
        return text

    def value(self, value: Any) -> Any:
        """The same for every text inside of JSON."""
        if isinstance(value, Mapping):
            return {str(key): self.value(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(part) for part in value]
        return self.text(value) if isinstance(value, str) else value

    def config(self, value: Any, name: str = "") -> Any:
        """A configuration: besides, what stands under a telling name is masked."""
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.config(part, str(key)) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.config(part, name) for part in value]
        if isinstance(value, str) and value and _SECRET_NAME.search(name):
            return MASK
        return self.value(value)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return ""
