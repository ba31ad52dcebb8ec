"""Profiles: a file for their owner only; one in use, at most."""

import stat
from pathlib import Path

import pytest

from cortex.client import NotConfigured
from cortex.client.profiles import Profile, ProfileStore

CORP = Profile(name="corp", url="https://corp.test", project="team")
HOME = Profile(name="home", url="http://127.0.0.1:8700")


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore(tmp_path / "home")


def test_kept_and_forgotten(store: ProfileStore) -> None:
    assert (store.all(), store.in_use(), store.find("corp")) == ([], None, None)
    store.keep(HOME)
    store.keep(CORP)
    assert store.all() == [CORP, HOME]
    store.keep(CORP.model_copy(update={"project": None}))
    assert store.get("corp").project is None
    store.drop("corp")
    store.drop("corp")
    assert store.all() == [HOME]


def test_one_is_in_use(store: ProfileStore) -> None:
    for profile in (HOME, CORP):
        store.keep(profile)
        store.use(profile.name)
    assert store.in_use() == CORP
    store.use(None)
    assert store.in_use() is None
    store.use("home")
    store.drop("home")
    assert store.in_use() is None


def test_one_that_is_not_there_is_told_with_those_that_are(store: ProfileStore) -> None:
    store.keep(CORP)
    for call in (store.get, store.use):
        with pytest.raises(NotConfigured, match="no profile `cop`; there are: `corp`"):
            call("cop")


def test_only_its_owner_may_read_it(store: ProfileStore, tmp_path: Path) -> None:
    store.keep(CORP)
    (path,) = (tmp_path / "home").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"{", b'{"profiles": 3}', b"\xff"])
def test_a_damaged_file_is_told(store: ProfileStore, tmp_path: Path, content: bytes) -> None:
    store.keep(CORP)
    (tmp_path / "home/profiles.json").write_bytes(content)
    with pytest.raises(NotConfigured, match="is damaged"):
        store.all()
