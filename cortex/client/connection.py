"""Where the server is and how to say who asks: arguments, environment, a login, the local stack."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cortex.client.errors import NotConfigured
from cortex.client.logins import LoginStore, StoredLogin, folder_of, store_in
from cortex.client.profiles import Profile, chosen

Source = Literal["argument", "environment", "profile", "local stack", "login"]
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Connection:
    """A server: its base URL, the key or the login, where the URL came from, and its profile."""

    url: str
    api_key: str | None
    source: Source
    login: StoredLogin | None = None
    store: LoginStore | None = None
    profile: Profile | None = None

    @property
    def profile_name(self) -> str:
        """Of the profile; empty: there is none."""
        return self.profile.name if self.profile is not None else ""

    @property
    def trust_env(self) -> bool:
        """Whether proxy variables apply: never to this machine itself."""
        return urlsplit(self.url).hostname not in _LOOPBACK


def resolve(
    base_url: str | None = None,
    api_key: str | None = None,
    data_dir: Path | None = None,
    profile: str | None = None,
) -> Connection:
    """The server to talk to.

    Args:
        base_url: Such as `http://127.0.0.1:8700`; None: the profile's, `CORTEX_URL`, that of
            `CORTEX_PROFILE` or of the profile in use, else the local stack, else the server of
            the last `cortex login`.
        api_key: None: `CORTEX_API_KEY`, else the login that is kept for this profile or server,
            else the local stack's if it is the one meant.
        data_dir: Where to look for the local stack, logins and profiles; None: the usual folder.
        profile: Name of a profile; its login goes to its own server only.

    Raises:
        NotConfigured: nothing names a server and no local stack runs, the URL is none, there is
            no such profile, or both are given.
    """
    if base_url and profile:
        raise NotConfigured("give either a URL or a profile: a profile has its own")
    key = api_key or os.environ.get("CORTEX_API_KEY") or None
    named = base_url or (None if profile else os.environ.get("CORTEX_URL"))
    if not named:
        meant = chosen(folder_of(data_dir), profile)
        return _local(key, data_dir) if meant is None else _of_profile(meant, key, data_dir)
    source: Source = "argument" if base_url else "environment"
    url = checked_url(named)
    if key is None and (connection := _logged_in(url, source, data_dir)) is not None:
        return connection
    if key is None and urlsplit(url).hostname in _LOOPBACK:
        key = _key_of_local(url, data_dir)
    return Connection(url, key, source)


def _of_profile(profile: Profile, key: str | None, data_dir: Path | None) -> Connection:
    store = store_in(data_dir, profile.name)
    login = None if key is not None else store.find(profile.url)
    if login is not None:
        return replace(logged_in(login, store, "profile"), profile=profile)
    if key is None and urlsplit(profile.url).hostname in _LOOPBACK:
        key = _key_of_local(profile.url, data_dir)
    return Connection(profile.url, key, "profile", profile=profile)


def logged_in(login: StoredLogin, store: LoginStore, source: Source) -> Connection:
    """The server of a login that is kept."""
    if login.api_key is not None:
        return Connection(login.url, login.api_key, source)
    return Connection(login.url, None, source, login, store)


def _logged_in(url: str, source: Source, data_dir: Path | None) -> Connection | None:
    try:
        store = store_in(data_dir)
    except NotConfigured:  # settings that are broken here are no reason to fail with a server
        return None
    login = store.find(url)
    return None if login is None else logged_in(login, store, source)


def checked_url(url: str) -> str:
    """The base URL as it is kept.

    Raises:
        NotConfigured: it is none.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotConfigured("the server URL is none: brackets are for an IPv6 address") from None
    if "@" in (parts.netloc or url):
        # Not shown: there may be a password in it.
        raise NotConfigured(
            "the server URL has a name or password in it; leave them out, and use `cortex login`"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotConfigured(f"`{url}` is no server URL; write it as `http://127.0.0.1:8700`")
    return url.rstrip("/").removesuffix("/api/v1")


def _local(key: str | None, data_dir: Path | None) -> Connection:
    # Loaded only when needed: a client of a remote server has no use for the embedded stack.
    from cortex.embedded.config import user_settings
    from cortex.embedded.control import find_running

    folder = data_dir or user_settings().data_dir
    running, store = find_running(folder), store_in(folder)
    login = store.newest() if running is None else store.find(running.api_url)
    if login is not None and key is None:
        return logged_in(login, store, "login" if running is None else "local stack")
    if running is None:
        raise NotConfigured
    return Connection(running.api_url, key or running.api_key, "local stack")


def _key_of_local(url: str, data_dir: Path | None) -> str | None:
    try:
        local = _local(None, data_dir)
    except Exception:  # a broken local stack is no reason to fail with another server
        return None
    return local.api_key if local.url == url else None
