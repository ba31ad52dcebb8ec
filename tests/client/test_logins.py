"""Logins that are kept: files for their owner only, refreshed while streams are read, too."""

import asyncio
import stat
import time
from pathlib import Path

import httpx
import pytest

from cortex.client import NotConfigured
from cortex.client.connection import resolve
from cortex.client.logins import LoginStore, SessionAuth, StoredLogin
from cortex.db.engine import Database
from cortex.settings import Settings
from tests.api.conftest import providers, settings
from tests.api.logins import PASSWORD, log_in, person
from tests.api.support import client_of, serve

__all__ = ["providers", "settings"]
ONE, OTHER = "https://one.test", "https://other.test:8700"


def key(url: str, at: float = 0) -> StoredLogin:
    return StoredLogin(url=url, user="ann", logged_in_at=at, api_key="ctx_x")


class TestStore:
    def test_one_for_each_server(self, tmp_path: Path) -> None:
        store = LoginStore(tmp_path / "home")
        assert (store.find(ONE), store.newest()) == (None, None)
        store.keep(key(ONE, at=2))
        store.keep(key(OTHER, at=1))
        assert store.find(OTHER) == key(OTHER, at=1)
        assert store.newest() == key(ONE, at=2)
        store.drop(ONE)
        store.drop(ONE)
        assert store.newest() == key(OTHER, at=1)

    def test_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        store = LoginStore(tmp_path)
        store.keep(key(ONE))
        (path,) = (tmp_path / "logins").iterdir()
        path.chmod(0o644)
        store.keep(key(ONE, at=3))
        assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]

    @pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"url": 7}'])
    def test_a_damaged_file_is_none(self, tmp_path: Path, content: bytes) -> None:
        store = LoginStore(tmp_path)
        store.keep(key(ONE))
        (path,) = (tmp_path / "logins").iterdir()
        path.write_bytes(content)
        assert (store.find(ONE), store.newest()) == (None, None)
        store.keep(key(ONE))
        assert store.find(ONE) is not None

    def test_nothing_shows_a_secret(self) -> None:
        login = StoredLogin(
            url=ONE, user="ann", logged_in_at=0, access_token="a.b.c", refresh_token="ctr_x"
        )
        assert not [secret for secret in ("a.b.c", "ctr_x", "ctx_x") if secret in repr(login)]
        assert "ctx_x" not in repr(key(ONE))


class TestConnection:
    def test_which_one_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(NotConfigured):
            resolve(data_dir=tmp_path)
        store = LoginStore(tmp_path)
        store.keep(key(ONE))
        both = [resolve(data_dir=tmp_path), resolve(ONE, data_dir=tmp_path)]
        assert [(each.url, each.api_key) for each in both] == [(ONE, "ctx_x")] * 2
        assert [each.source for each in both] == ["login", "argument"]
        assert resolve(OTHER, data_dir=tmp_path).api_key is None
        assert resolve(ONE, "mine", data_dir=tmp_path).api_key == "mine"
        monkeypatch.setenv("CORTEX_API_KEY", "env")
        assert resolve(ONE, data_dir=tmp_path).api_key == "env"


async def test_a_stream_begins_with_a_token_that_is_good(
    settings: Settings, providers: None, database: Database, tmp_path: Path
) -> None:
    async with client_of(settings) as client:
        await person(client, database)
        made = await log_in(client, password=PASSWORD)
    async with serve(settings) as (url, _):
        store = LoginStore(tmp_path)
        login = StoredLogin.of_session(url, made)
        stale = (
            login.model_copy(update={"refresh_at": 0.0}),
            login.model_copy(update={"access_token": "x.y.z", "refresh_at": time.time() + 99}),
        )
        for number, each in enumerate(stale):
            current = store.find(url)
            tokens = {} if current is None else {"refresh_token": current.refresh_token}
            store.keep(each.model_copy(update=tokens))
            kept = store.find(url)
            assert kept is not None
            auth = SessionAuth(kept, store)
            async with (
                httpx.AsyncClient(base_url=url, auth=auth, trust_env=False) as http,
                http.stream(
                    "GET", "/api/v1/events?from=start", headers={"accept": "text/event-stream"}
                ) as stream,
            ):
                assert (number, stream.status_code) == (number, 200)
                assert "event-stream" in stream.headers["content-type"]
            with httpx.Client(base_url=url, auth=auth, trust_env=False) as blocking:
                answer = await asyncio.to_thread(blocking.get, "/api/v1/info")
                assert answer.json()["user"] == "ann"
