"""Wrapped keys of the ring: opened at start, by Vault or by what a package brings."""

import base64
import os
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

import cortex.security.kms
from cortex.domain.errors import CortexError
from cortex.security.keyring import KeyRing
from cortex.security.kms import GROUP, KeyServiceAway, new_entry, with_open_keys
from cortex.settings import KmsSettings, Settings, VaultSettings
from tests.security.vault_server import FakeVault, serving

KEY, OLD = os.urandom(32), os.urandom(32)
IN_CLEAR = f"k1:{base64.b64encode(OLD).decode()}"


@pytest.fixture
def server() -> Iterator[FakeVault]:
    with serving(FakeVault()) as vault:
        yield vault


def kms(url: str, seconds: float = 0, **services: Any) -> KmsSettings:
    return KmsSettings(
        patience=timedelta(seconds=seconds),
        vault=VaultSettings(address=url, token=SecretStr("root-token")),
        services=services,
    )


def given(keys: str, services: KmsSettings) -> Settings:
    return Settings(encryption_keys=SecretStr(keys), kms=services)


def opened(keys: str, services: KmsSettings) -> str:
    setting = with_open_keys(given(keys, services)).encryption_keys
    assert setting is not None
    return setting.get_secret_value()


class TestVault:
    def test_keys_in_clear_and_wrapped_ones(self, server: FakeVault) -> None:
        ring = opened(f"k2:{server.wrap(KEY)}, {IN_CLEAR}", kms(server.url))
        assert ring == f"k2:{base64.b64encode(KEY).decode()},{IN_CLEAR}"
        before = KeyRing.from_setting(SecretStr(IN_CLEAR)).encrypt({"a": "b"}, "p")
        assert KeyRing.from_setting(SecretStr(ring)).decrypt(before, "p") == {"a": "b"}

    def test_without_wrapped_ones_nobody_is_asked(self) -> None:
        for keys in (IN_CLEAR, ""):
            settings = given(keys, kms("https://nowhere.invalid"))
            assert with_open_keys(settings) is settings
        assert with_open_keys(Settings(encryption_keys=None)).encryption_keys is None

    def test_it_is_not_needed_any_more_then(self) -> None:
        with serving(FakeVault()) as server:
            ring = KeyRing.from_setting(
                SecretStr(opened(f"k2:{server.wrap(KEY)}", kms(server.url)))
            )
        assert ring.decrypt(ring.encrypt({"a": "b"}, "p"), "p") == {"a": "b"}

    def test_a_start_waits_until_it_is_unsealed(self, server: FakeVault) -> None:
        server.sealed = True

        def unseal() -> None:
            while not server.asked:
                time.sleep(0.01)
            server.sealed = False

        thread = threading.Thread(target=unseal)
        thread.start()
        assert opened(f"k2:{server.wrap(KEY)}", kms(server.url, 30)).startswith("k2:")
        thread.join()
        assert len(server.asked) == 2

    def test_it_says_why_it_waits_no_longer(self, server: FakeVault) -> None:
        server.sealed = True
        with pytest.raises(CortexError, match="key `k2` cannot be opened: .*Vault is sealed"):
            opened(f"k2:{server.wrap(KEY)}", kms(server.url))

    def test_what_is_refused_is_not_asked_again(self, server: FakeVault) -> None:
        server.tokens.clear()
        with pytest.raises(CortexError, match="key `k2` cannot be opened: .*permission denied"):
            opened(f"k2:{server.wrap(KEY)}", kms(server.url, 30))
        assert len(server.asked) == 1

    def test_a_key_that_is_too_short(self, server: FakeVault) -> None:
        with pytest.raises(CortexError, match="`k2` of `vault` has 16 bytes, and must have 32"):
            opened(f"k2:{server.wrap(KEY[:16])}", kms(server.url))

    def test_a_new_entry(self, server: FakeVault) -> None:
        entry = new_entry("k3", "vault", kms(server.url))
        assert entry.startswith("k3:vault:v1:")
        assert KeyRing.from_setting(SecretStr(opened(entry, kms(server.url)))).newest == "k3"
        plain = new_entry("k4", None, KmsSettings())
        assert KeyRing.from_setting(SecretStr(plain)).newest == "k4"
        for bad in ("", "a b", "a:b", "a,b", "é"):
            with pytest.raises(CortexError, match="made of letters"):
                new_entry(bad, None, KmsSettings())


class Shift:
    """A key service as a package brings it."""

    away: ClassVar[int] = 0
    closed: ClassVar[int] = 0

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.by = options["by"]

    def unwrap(self, wrapped: str) -> bytes:
        if Shift.away:
            Shift.away -= 1
            raise KeyServiceAway("it sleeps")
        if wrapped == "broken":
            raise RuntimeError("hush-4711")
        return bytes((value - self.by) % 256 for value in base64.b64decode(wrapped))

    def new_key(self) -> str:
        return base64.b64encode(os.urandom(32)).decode()

    def close(self) -> None:
        Shift.closed += 1


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("shift", f"{__name__}:Shift", GROUP)

    def entry_points(*, group: str, name: str) -> EntryPoints:
        return EntryPoints([point]).select(group=group, name=name)

    monkeypatch.setattr(cortex.security.kms, "entry_points", entry_points)
    Shift.away = Shift.closed = 0


@pytest.mark.usefixtures("installed")
class TestPackages:
    SERVICES: ClassVar[KmsSettings] = kms("", 30, shift={"by": 1})

    def test_one_opens_keys(self) -> None:
        entry = new_entry("k9", "shift", self.SERVICES)
        Shift.away = 1
        assert KeyRing.from_setting(SecretStr(opened(entry, self.SERVICES))).newest == "k9"
        assert Shift.closed == 2

    def test_what_it_raises_is_not_quoted(self) -> None:
        with pytest.raises(CortexError, match="`shift` failed with RuntimeError") as caught:
            opened("k9:shift:broken", self.SERVICES)
        assert "hush" not in caught.value.detail
        with pytest.raises(CortexError, match="`shift` cannot be used: KeyError"):
            opened("k9:shift:x", kms(""))

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(CortexError, match="no key service `other`; there is `vault`"):
            opened("k9:other:x", self.SERVICES)
