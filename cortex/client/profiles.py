"""Profiles: servers by name, each with a project and a login of its own; one may be in use.

They lie in one file of the data folder, which only its owner may read. Secrets are not in it: those
are kept with the logins.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cortex.client.errors import NotConfigured

PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")


class Profile(BaseModel):
    """A server by name.

    Attributes:
        project: Where submissions go, unless they say otherwise; None: one's personal project.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    url: str
    project: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)

    in_use: str | None = None
    profiles: Mapping[str, Profile] = Field(default_factory=dict)


class ProfileStore:
    """The profiles of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "profiles.json"

    def all(self) -> list[Profile]:
        """Every profile, by name."""
        return sorted(self._read().profiles.values(), key=lambda profile: profile.name)

    def find(self, name: str) -> Profile | None:
        """The one of this name, if there is one."""
        return self._read().profiles.get(name)

    def get(self, name: str) -> Profile:
        """The one of this name.

        Raises:
            NotConfigured: there is none; names those that there are.
        """
        profile = self.find(name)
        if profile is None:
            known = ", ".join(f"`{each.name}`" for each in self.all()) or "none"
            raise NotConfigured(f"there is no profile `{name[:60]}`; there are: {known}")
        return profile

    def in_use(self) -> Profile | None:
        """The one that counts where nothing else is named."""
        file = self._read()
        return file.profiles.get(file.in_use or "")

    def keep(self, profile: Profile) -> None:
        """Add a profile, or change the one of its name."""
        file = self._read()
        self._write(file.model_copy(update={"profiles": {**file.profiles, profile.name: profile}}))

    def use(self, name: str | None) -> None:
        """Let one count where nothing else is named; None: none.

        Raises:
            NotConfigured: there is none of this name.
        """
        chosen = None if name is None else self.get(name).name
        self._write(self._read().model_copy(update={"in_use": chosen}))

    def drop(self, name: str) -> None:
        """Forget a profile; harmless if there is none."""
        file = self._read()
        left = {key: value for key, value in file.profiles.items() if key != name}
        in_use = None if file.in_use == name else file.in_use
        self._write(_File(in_use=in_use, profiles=left))

    def _read(self) -> _File:
        with contextlib.suppress(FileNotFoundError):
            try:
                return _File.model_validate_json(self._path.read_text(encoding="utf-8"))
            except (ValidationError, UnicodeDecodeError):
                raise NotConfigured(
                    f"{self._path} is damaged: mend it, or remove it and add the profiles anew"
                ) from None
            except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
                raise NotConfigured(f"{self._path} cannot be read: {error.strerror}") from None
        return _File()

    def _write(self, file: _File) -> None:
        """Whole or not at all; nobody else may read it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, file.model_dump_json(indent=2))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def chosen(data_dir: Path, profile: str | None) -> Profile | None:
    """The profile that counts: the given one, that of `CORTEX_PROFILE`, or the one in use.

    Raises:
        NotConfigured: it is named, and there is none such.
    """
    store = ProfileStore(data_dir)
    named = profile or os.environ.get("CORTEX_PROFILE")
    return store.get(named) if named else store.in_use()
