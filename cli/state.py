"""What the global options say, and the clients and consoles that follow from it."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from cortex.client import AsyncCortex, Cortex, RetryPolicy
    from cortex.client.logins import LoginStore
    from cortex.client.profiles import ProfileStore

TAIL = "cortex.tail"
"""Key in `ctx.meta` of the words after `--`."""


@dataclass
class State:
    """The global options."""

    url: str | None = None
    api_key: str | None = None
    profile: str | None = None
    data_dir: Path | None = None
    asked_project: str | None = None
    json: bool = False
    color: bool = True
    tail: list[str] | None = field(default=None)

    def client(self, *, timeout: float = 30.0) -> "Cortex":
        """The blocking client: gives up soon, because a person waits."""
        from cortex.client import Cortex

        return Cortex(
            self.url,
            self.api_key,
            data_dir=self.data_dir,
            profile=self.profile,
            project=self.project,
            timeout=timeout,
            retry=_impatient(),
        )

    def aclient(self, *, timeout: float = 30.0) -> "AsyncCortex":
        """The asynchronous client, for following several things at once."""
        from cortex.client import AsyncCortex, RetryPolicy

        return AsyncCortex(
            self.url,
            self.api_key,
            data_dir=self.data_dir,
            profile=self.profile,
            project=self.project,
            timeout=timeout,
            retry=_impatient(),
            stream_retry=RetryPolicy(attempts=15),
        )

    def logins(self, profile: str = "") -> "LoginStore":
        """The logins that are kept on this machine, those of a profile first."""
        from cortex.client.logins import store_in

        return store_in(self.data_dir, profile)

    def profiles(self) -> "ProfileStore":
        """The profiles that are kept on this machine."""
        from cortex.client.logins import folder_of
        from cortex.client.profiles import ProfileStore

        return ProfileStore(folder_of(self.data_dir))

    def server_named(self) -> str:
        """URL of the server that is named; empty: the stack on this machine is meant."""
        from cortex.client.logins import folder_of
        from cortex.client.profiles import chosen

        url = self.url or ("" if self.profile else os.environ.get("CORTEX_URL"))
        if url:
            return url
        profile = chosen(folder_of(self.data_dir), self.profile)
        return "" if profile is None else profile.url

    @property
    def project(self) -> str | None:
        """The project that is meant: the given one, `CORTEX_PROJECT`'s, or the profile's."""
        from cortex.client.logins import folder_of
        from cortex.client.profiles import chosen

        asked = self.asked_project or os.environ.get("CORTEX_PROJECT")
        if asked or self.url or (os.environ.get("CORTEX_URL") and not self.profile):
            return asked or None
        profile = chosen(folder_of(self.data_dir), self.profile)
        return None if profile is None else profile.project

    def folder(self) -> Path:
        """The data folder of the embedded stack."""
        from cortex.embedded.config import user_settings

        return (self.data_dir or user_settings().data_dir).expanduser().resolve()

    def colored(self, stream: IO[str]) -> bool:
        """Whether to use colours there."""
        return self.color and is_terminal(stream)


def state_of(ctx: typer.Context) -> State:
    """The state of this run of the command."""
    state = ctx.find_root().obj
    return state if isinstance(state, State) else State()


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person looks at it."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def interactive() -> bool:
    """Whether a question can be asked."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def _impatient() -> "RetryPolicy":
    from cortex.client import RetryPolicy

    return RetryPolicy(attempts=4, base=0.2, longest=2.0)
