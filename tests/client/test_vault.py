"""Logins whose secrets are in a keyring: the real library, with a backend of the tests."""

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from cortex.client import NotConfigured
from cortex.client.logins import LoginStore, StoredLogin
from cortex.client.vault import SERVICE, desktop_vault

URL = "https://one.test"
LOGIN = StoredLogin(
    url=URL,
    user="ann",
    logged_in_at=1,
    session="ses_1",
    access_token="secret-access",
    refresh_token="secret-refresh",
)


class Desktop(KeyringBackend):
    """One in memory; it can be locked."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        self._open()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._open()
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError("there is none")

    def _open(self) -> None:
        if self.locked:
            raise KeyringLocked("locked")


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    before, backend = keyring.get_keyring(), Desktop()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def files(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*.json"))


def test_secrets_are_in_the_keyring_only(desktop: Desktop, tmp_path: Path) -> None:
    store = LoginStore(tmp_path)
    store.keep(LOGIN)
    assert "secret" not in files(tmp_path)
    assert [service for service, _ in desktop.kept] == [SERVICE]
    found = store.find(URL)
    assert found is not None
    assert (found.access_token, found.refresh_token) == ("secret-access", "secret-refresh")
    assert store.newest() == found
    store.drop(URL)
    assert desktop.kept == {}
    assert (store.find(URL), files(tmp_path)) == (None, "")


def test_one_that_is_locked(desktop: Desktop, tmp_path: Path) -> None:
    store = LoginStore(tmp_path)
    store.keep(LOGIN)
    desktop.locked = True
    with pytest.raises(NotConfigured, match="a keyring that cannot be read now"):
        store.find(URL)
    known = store.known(URL)
    assert known is not None
    assert known.user == "ann"
    store.keep(LOGIN)  # whoever logs in anew is logged in, with the file
    assert store.find(URL) == LOGIN


def test_a_file_from_before_is_read_and_moved(desktop: Desktop, tmp_path: Path) -> None:
    LoginStore(tmp_path, vault=lambda: None).keep(LOGIN)
    store = LoginStore(tmp_path)
    assert store.find(URL) == LOGIN
    store.keep(LOGIN)
    assert "secret" not in files(tmp_path)


def test_without_a_good_one_there_is_none(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desktop_vault() is desktop
    monkeypatch.setattr(Desktop, "priority", 0.5)
    assert desktop_vault() is None
