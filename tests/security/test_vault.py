"""Keys that Vault's transit engine opens, over real HTTP."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cortex.domain.errors import CortexError
from cortex.security.kms import KeyServiceAway
from cortex.security.vault import Vault
from cortex.settings import VaultSettings
from tests.security.vault_server import ROLE, SECRET_ID, FakeVault, serving

KEY = os.urandom(32)


@pytest.fixture
def server() -> Iterator[FakeVault]:
    with serving(FakeVault()) as vault:
        yield vault


def settings(server: FakeVault, **values: Any) -> VaultSettings:
    given = {"address": server.url, "token": SecretStr("root-token"), **values}
    return VaultSettings.model_validate(given)


def wrapped(server: FakeVault, key: bytes = KEY) -> str:
    return server.wrap(key).removeprefix("vault:")


class TestKeys:
    def test_one_is_made_and_opened(self, server: FakeVault) -> None:
        vault = Vault(settings(server, namespace="team/a"))
        made = vault.new_key()
        assert made.startswith("v1:")
        assert len(vault.unwrap(made)) == 32
        assert vault.unwrap(wrapped(server)) == KEY
        vault.close()
        for path, headers in server.asked:
            assert headers["x-vault-token"] == "root-token", path
            assert headers["x-vault-namespace"] == "team/a"
            assert headers["x-vault-request"] == "true"
        # A token that was given is not ended.
        assert "root-token" in server.tokens

    def test_the_key_in_clear_is_only_in_the_answer_to_a_decryption(
        self, server: FakeVault
    ) -> None:
        Vault(settings(server)).new_key()
        assert [path for path, _ in server.asked] == ["/v1/transit/datakey/wrapped/cortex"]

    def test_a_token_from_a_file(self, server: FakeVault, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("root-token\n")
        assert Vault(settings(server, token=None, token_file=file)).unwrap(wrapped(server)) == KEY
        file.write_text("\n")
        with pytest.raises(CortexError, match="`kms.vault.token_file` is empty"):
            Vault(settings(server, token_file=file)).unwrap(wrapped(server))
        with pytest.raises(CortexError, match="`kms.vault.token_file`: No such file"):
            Vault(settings(server, token_file=tmp_path / "none")).unwrap(wrapped(server))


class TestAppRole:
    def by_role(self, server: FakeVault, secret_id: str = SECRET_ID) -> Vault:
        given = settings(server, token=None, role_id=ROLE, secret_id=SecretStr(secret_id))
        return Vault(given)

    def test_it_logs_in_once_and_out(self, server: FakeVault) -> None:
        vault = self.by_role(server)
        for _ in range(2):
            assert vault.unwrap(wrapped(server)) == KEY
        vault.close()
        assert [path for path, _ in server.asked].count("/v1/auth/approle/login") == 1
        assert server.tokens == {"root-token"}

    def test_a_login_that_ended_meanwhile(self, server: FakeVault) -> None:
        vault = self.by_role(server)
        vault.unwrap(wrapped(server))
        server.tokens.clear()
        assert vault.unwrap(wrapped(server)) == KEY

    def test_another_secret(self, server: FakeVault) -> None:
        with pytest.raises(CortexError, match="400: invalid role or secret ID") as caught:
            self.by_role(server, "wrong-4711").unwrap(wrapped(server))
        assert not isinstance(caught.value, KeyServiceAway)
        assert "4711" not in caught.value.detail


class TestTrouble:
    def test_it_is_away(self) -> None:
        with serving(FakeVault()) as server:
            given = settings(server)
        with pytest.raises(KeyServiceAway, match="does not answer"):
            Vault(given).unwrap("v1:x")

    def test_it_is_sealed(self, server: FakeVault) -> None:
        server.sealed = True
        with pytest.raises(KeyServiceAway, match="is not ready.*503: Vault is sealed"):
            Vault(settings(server)).unwrap(wrapped(server))

    @pytest.mark.parametrize("status", [412, 429, 472, 473, 500, 502, 504])
    def test_what_may_be_over_soon(self, server: FakeVault, status: int) -> None:
        server.answers["/v1/transit/decrypt/cortex"] = (status, {"errors": []})
        with pytest.raises(KeyServiceAway, match=str(status)):
            Vault(settings(server)).unwrap(wrapped(server))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"token": SecretStr("other")}, "403: permission denied"),
            ({"key": "none"}, "400: encryption key not found"),
            ({"mount": "elsewhere"}, "404: no handler for route"),
        ],
    )
    def test_what_is_wrong_is_said_by_vault(
        self, server: FakeVault, changes: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(CortexError, match=words) as caught:
            Vault(settings(server, **changes)).unwrap(wrapped(server))
        assert not isinstance(caught.value, KeyServiceAway)

    def test_a_ciphertext_of_another_key(self, server: FakeVault) -> None:
        server.keys["other"] = os.urandom(32)
        foreign = server.wrap(KEY, "other").removeprefix("vault:")
        with pytest.raises(CortexError, match="message authentication failed"):
            Vault(settings(server)).unwrap(foreign)

    def test_it_is_not_sent_elsewhere(self, server: FakeVault) -> None:
        server.redirects = True
        with pytest.raises(CortexError, match="is not the active one"):
            Vault(settings(server)).unwrap(wrapped(server))
        assert len(server.asked) == 1

    @pytest.mark.parametrize(
        "content",
        ["<html>", {}, {"data": None}, {"data": {}}, {"data": {"plaintext": "!"}}, ["data"]],
    )
    def test_what_is_no_vault(self, server: FakeVault, content: Any) -> None:
        server.answers["/v1/transit/decrypt/cortex"] = (200, content)
        with pytest.raises(CortexError, match="answers as no Vault does|without a key"):
            Vault(settings(server)).unwrap(wrapped(server))

    @pytest.mark.parametrize(
        "address",
        ["", "vault:8200", "ftp://v", "http://vault.example.org", "https://u:p@v", "http://["],
    )
    def test_an_address_that_is_none(self, address: str) -> None:
        given = VaultSettings(address=address, token=SecretStr("t"))
        with pytest.raises(CortexError, match="`kms.vault.address` must be"):
            Vault(given)

    def test_nothing_to_log_in_with(self) -> None:
        for values in ({}, {"role_id": "r"}, {"secret_id": SecretStr("s")}):
            given = VaultSettings.model_validate({"address": "https://v", **values})
            with pytest.raises(CortexError, match="needs a `token_file`, or a `role_id`"):
                Vault(given)


def test_keys_are_base64_in_its_answers(server: FakeVault) -> None:
    server.answers["/v1/transit/decrypt/cortex"] = (
        200,
        {"data": {"plaintext": base64.b64encode(b"x" * 16).decode()}},
    )
    assert Vault(settings(server)).unwrap("v1:x") == b"x" * 16
