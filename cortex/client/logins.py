"""Logins that are kept on this machine: one file for each server, which only its owner may read;
their secrets in the desktop's keyring, where there is one.

They lie beside the stack of `cortex up`, in the folder `logins`. Access tokens are refreshed by
themselves.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cortex.client.errors import ApiError, NotConfigured
from cortex.client.profiles import write_private
from cortex.client.retry import problem_of
from cortex.client.urls import shown_url
from cortex.client.vault import SERVICE, Vault, desktop_vault, vault_errors
from cortex.schemas.auth import LoggedIn

_EARLY: Final = 0.2
"""Which part of its life an access token has left when it is refreshed."""
_SECRETS: Final = ("api_key", "access_token", "refresh_token")
_PUBLIC: Final = tuple(
    f"/api/v1/auth/{name}"
    for name in ("login", "refresh", "redeem", "device/start", "device/token")
)


class StoredLogin(BaseModel):
    """A login as it is kept: tokens of a session, or an API key.

    Attributes:
        refresh_at: When the access token is to be refreshed, in seconds since 1970.
        logged_in_at: The same, of the login: the newest one is the server that is meant if nothing
            else names one.
        profile: The profile that it is of; empty: of none.
        in_keyring: Whether the file is without its secrets, which the desktop's keyring keeps.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    profile: str = ""
    user: str
    logged_in_at: float
    api_key: str | None = Field(default=None, repr=False)
    session: str = ""
    access_token: str = Field(default="", repr=False)
    refresh_token: str = Field(default="", repr=False)
    refresh_at: float = 0.0
    in_keyring: bool = False

    @classmethod
    def of_session(cls, url: str, login: LoggedIn, profile: str = "") -> "StoredLogin":
        """What is kept of a login that was just made."""
        now = time.time()
        return cls(
            url=url,
            profile=profile,
            user=login.session.user,
            logged_in_at=now,
            session=login.session.id,
            access_token=login.access_token,
            refresh_token=login.refresh_token,
            refresh_at=now + login.expires_in * (1 - _EARLY),
        )

    @classmethod
    def of_key(cls, url: str, user: str, api_key: str, profile: str = "") -> "StoredLogin":
        """What is kept of an API key."""
        now = time.time()
        return cls(url=url, profile=profile, user=user, logged_in_at=now, api_key=api_key)

    def refreshed(self, login: LoggedIn) -> "StoredLogin":
        """The same session with its next tokens."""
        following = self.of_session(self.url, login, self.profile)
        return following.model_copy(update={"logged_in_at": self.logged_in_at})


class LoginStore:
    """The logins in one data folder; with a profile its own come first.

    Args:
        data_dir: That folder.
        profile: Name of a profile; empty: none.
        vault: Finds the desktop's keyring, which keeps the secrets of what is kept from now on.
    """

    def __init__(
        self,
        data_dir: Path,
        profile: str = "",
        *,
        vault: Callable[[], Vault | None] = desktop_vault,
    ) -> None:
        self._folder = data_dir / "logins"
        self._profile = profile
        self._vault = vault

    def find(self, url: str) -> StoredLogin | None:
        """The login at this server, if there is one; the profile's, else that of no profile.

        Raises:
            NotConfigured: its secrets are in a keyring that cannot be asked.
        """
        login = self.known(url)
        return None if login is None else self._opened(login)

    def known(self, url: str) -> StoredLogin | None:
        """The same, as far as it can be told without the keyring."""
        own = _read(self._path(url, self._profile))
        return own or (_read(self._path(url, "")) if self._profile else None)

    def newest(self) -> StoredLogin | None:
        """The login of no profile that was made last, at whatever server; see `find`."""
        logins = [login for path in self._folder.glob("*.json") if (login := _read(path))]
        plain = [login for login in logins if not login.profile]
        last = max(plain, key=lambda login: login.logged_in_at, default=None)
        return None if last is None else self._opened(last)

    def keep(self, login: StoredLogin) -> None:
        """Write it down, whole or not at all; nobody else may read it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(login.url, login.profile)
        kept = self._sealed(path.stem, login)
        write_private(path, kept.model_dump_json())

    def drop(self, url: str) -> None:
        """Forget the login at this server that `find` finds; harmless if there is none."""
        login = self.known(url)
        path = self._path(url, login.profile if login else self._profile)
        if login is not None and login.in_keyring and (vault := self._vault()) is not None:
            with contextlib.suppress(*vault_errors()):
                vault.delete_password(SERVICE, path.stem)
        path.unlink(missing_ok=True)

    def _sealed(self, entry: str, login: StoredLogin) -> StoredLogin:
        """It without its secrets, where a keyring has taken them."""
        vault = self._vault()
        if vault is not None:
            secrets = {name: getattr(login, name) for name in _SECRETS}
            with contextlib.suppress(*vault_errors()):
                vault.set_password(SERVICE, entry, json.dumps(secrets))
                blank = dict.fromkeys(_SECRETS[1:], "")
                return login.model_copy(update={**blank, "api_key": None, "in_keyring": True})
        return login.model_copy(update={"in_keyring": False})

    def _opened(self, login: StoredLogin) -> StoredLogin:
        """It with its secrets."""
        if not login.in_keyring:
            return login
        vault, kept = self._vault(), None
        if vault is not None:
            with contextlib.suppress(*vault_errors()):
                kept = vault.get_password(SERVICE, self._path(login.url, login.profile).stem)
        if kept is None:
            raise NotConfigured(
                f"the login at {shown_url(login.url)} is kept in a keyring that cannot be read "
                "now: unlock it, or log in anew (`cortex login`)"
            )
        secrets = {name: value for name, value in json.loads(kept).items() if name in _SECRETS}
        return login.model_copy(update=secrets)

    def _path(self, url: str, profile: str) -> Path:
        host = urlsplit(url).hostname or "server"
        whole = f"{profile}\n{url}" if profile else url
        return self._folder / f"{host}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}.json"


class SessionAuth(httpx.Auth):
    """Sends the access token of a login, and gets the next one in time.

    Several programs share a login: what another has refreshed meanwhile is taken from the file, and
    two that refresh at once are given the same next token by the server.
    """

    def __init__(self, login: StoredLogin, store: LoginStore) -> None:
        self._login = login
        self._store = store

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """See `httpx.Auth`."""
        if request.url.path in _PUBLIC:
            yield request
            return
        if self._is_due():
            self._reread()
        if self._is_due():
            answer = yield self._refresh()
            answer.read()
            self._take(answer)
        used = self._authorize(request)
        response = yield request
        if response.status_code == 401 and used == self._login.access_token:
            # Its time was up earlier than told, such as by a clock that was put right.
            self._reread()
            if used == self._login.access_token:
                answer = yield self._refresh()
                answer.read()
                self._take(answer)
            self._authorize(request)
            yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """See `httpx.Auth`."""
        if request.url.path in _PUBLIC:
            yield request
            return
        if self._is_due():
            await asyncio.to_thread(self._reread)
        if self._is_due():
            answer = yield self._refresh()
            await answer.aread()
            await asyncio.to_thread(self._take, answer)
        used = self._authorize(request)
        response = yield request
        if response.status_code == 401 and used == self._login.access_token:
            await asyncio.to_thread(self._reread)
            if used == self._login.access_token:
                answer = yield self._refresh()
                await answer.aread()
                await asyncio.to_thread(self._take, answer)
            self._authorize(request)
            yield request

    def _is_due(self) -> bool:
        return time.time() >= self._login.refresh_at

    def _reread(self) -> None:
        self._login = self._store.find(self._login.url) or self._login

    def _refresh(self) -> httpx.Request:
        return httpx.Request(
            "POST",
            f"{self._login.url}/api/v1/auth/refresh",
            json={"refresh_token": self._login.refresh_token},
        )

    def _authorize(self, request: httpx.Request) -> str:
        request.headers["Authorization"] = f"Bearer {self._login.access_token}"
        return self._login.access_token

    def _take(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            raise ApiError(problem_of(answer))
        self._login = self._login.refreshed(LoggedIn.model_validate_json(answer.content))
        self._store.keep(self._login)


def _read(path: Path) -> StoredLogin | None:
    with contextlib.suppress(OSError, ValidationError, UnicodeDecodeError):
        return StoredLogin.model_validate_json(path.read_text(encoding="utf-8"))
    return None


def store_in(data_dir: Path | None, profile: str = "") -> LoginStore:
    """The logins of a data folder, for a profile; None: of the usual folder.

    Raises:
        NotConfigured: the settings, which name it, cannot be read.
    """
    return LoginStore(folder_of(data_dir), profile)


def folder_of(data_dir: Path | None) -> Path:
    """The data folder; None: the usual one.

    Raises:
        NotConfigured: the settings, which name it, cannot be read.
    """
    if data_dir is None:
        # Loaded only when needed: with a key nobody looks for a login.
        from cortex.embedded.config import user_settings
        from cortex.embedded.errors import StackError

        try:
            data_dir = user_settings().data_dir
        except StackError as error:
            raise NotConfigured(str(error)) from None
    return data_dir.expanduser().absolute()
