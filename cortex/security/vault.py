"""Vault's transit engine, and OpenBao's, which speaks the same: it wraps keys and opens them.

By plain HTTP, as its documentation of the API says: `POST /v1/<mount>/decrypt/<key>`,
`POST /v1/<mount>/datakey/wrapped/<key>`, `POST /v1/auth/<mount>/login` for AppRole. Loaded where
a key is wrapped by it.
"""

import base64
import binascii
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
from pydantic import SecretStr

from cortex.domain.errors import CortexError
from cortex.security.kms import KeyServiceAway
from cortex.settings import VaultSettings

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_PASSING: Final = frozenset({412, 429, 472, 473, 500, 502, 503, 504})
"""Sealed, overloaded, a standby, not consistent yet: all of it may be over soon."""
_SAID: Final = 200


class Vault:
    """A key service over the transit engine; knows what it was told at start only."""

    def __init__(self, settings: VaultSettings) -> None:
        """Neither connects nor reads files yet.

        Raises:
            CortexError: the settings do not say which Vault, or how to log in there.
        """
        self._settings = settings
        _check(settings)
        self._http = httpx.Client(
            base_url=settings.address.rstrip("/"),
            timeout=settings.timeout.total_seconds(),
            verify=str(settings.ca_file) if settings.ca_file else True,
            # It would send the token along to wherever it is told to go.
            follow_redirects=False,
            trust_env=False,
        )
        self._token: str | None = None
        self._own_login = False

    def unwrap(self, wrapped: str) -> bytes:
        """The key behind a ciphertext of Vault's, without its `vault:`.

        Raises:
            KeyServiceAway: Vault cannot be reached, is sealed or busy.
            CortexError: it does not allow it, or cannot open it.
        """
        path = f"/v1/{self._mount}/decrypt/{self._key}"
        data = self._ask(path, {"ciphertext": f"vault:{wrapped}"}, "opens no key")
        try:
            return base64.b64decode(data["plaintext"], validate=True)
        except (KeyError, TypeError, binascii.Error):
            raise CortexError(f"{self._name} answered a decryption without a key") from None

    def new_key(self) -> str:
        """A new key of 32 bytes in its wrapped form; in clear it does not leave Vault.

        Raises:
            CortexError: as `unwrap`.
        """
        path = f"/v1/{self._mount}/datakey/wrapped/{self._key}"
        data = self._ask(path, {"bits": 256}, "makes no key")
        ciphertext = data.get("ciphertext")
        if not isinstance(ciphertext, str) or not ciphertext.startswith("vault:"):
            raise CortexError(f"{self._name} answered without a key")
        return ciphertext.removeprefix("vault:")

    def close(self) -> None:
        """End the login, if it was made here, and the connection."""
        if self._own_login and self._token is not None:
            with suppress(httpx.HTTPError):  # it ends by itself as well
                self._http.post("/v1/auth/token/revoke-self", headers=self._headers())
        self._http.close()

    @property
    def _name(self) -> str:
        return f"Vault at {self._settings.address}"

    @property
    def _mount(self) -> str:
        return quote(self._settings.mount.strip("/"))

    @property
    def _key(self) -> str:
        return quote(self._settings.key, safe="")

    def _ask(self, path: str, body: Mapping[str, Any], failed: str) -> Mapping[str, Any]:
        if self._token is None:
            self._token = self._log_in()
        answer = self._post(path, body, self._headers())
        if answer.status_code == 403 and self._own_login:
            # The login may have ended while others waited for Vault.
            self._token = self._log_in()
            answer = self._post(path, body, self._headers())
        return self._content(answer, failed, "data")

    def _log_in(self) -> str:
        settings = self._settings
        token = _secret(settings.token, settings.token_file, "token_file")
        if token is not None:
            return token
        body = {
            "role_id": settings.role_id,
            "secret_id": _secret(settings.secret_id, settings.secret_id_file, "secret_id_file"),
        }
        path = f"/v1/auth/{quote(settings.approle_mount.strip('/'))}/login"
        answer = self._post(path, body, self._headers())
        auth = self._content(answer, "lets nobody in by this role", "auth")
        token = auth.get("client_token")
        if not isinstance(token, str) or not token:
            raise CortexError(f"{self._name} answered a login without a token")
        self._own_login = True
        return token

    def _headers(self) -> dict[str, str]:
        headers = {"X-Vault-Request": "true"}
        if self._token is not None:
            headers["X-Vault-Token"] = self._token
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        return headers

    def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> httpx.Response:
        try:
            answer = self._http.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise KeyServiceAway(f"{self._name} does not answer: {said[:_SAID]}") from None
        if answer.status_code in _PASSING:
            raise KeyServiceAway(f"{self._name} is not ready ({_told(answer)})")
        if answer.is_redirect:
            raise CortexError(f"{self._name} is not the active one; name the active one or a proxy")
        return answer

    def _content(self, answer: httpx.Response, failed: str, part: str) -> Mapping[str, Any]:
        if answer.status_code != 200:
            raise CortexError(f"{self._name} {failed} ({_told(answer)})")
        try:
            content = answer.json()[part]
        except (ValueError, KeyError, TypeError):
            content = None
        if not isinstance(content, dict):
            raise CortexError(f"{self._name} answers as no Vault does")
        return content


def _told(answer: httpx.Response) -> str:
    """Status and what Vault says of it."""
    try:
        errors = answer.json()["errors"]
    except (ValueError, KeyError, TypeError):
        errors = ()
    words = "; ".join(str(each) for each in errors) if isinstance(errors, list) else ""
    return (
        f"{answer.status_code}: {' '.join(words.split())[:_SAID]}"
        if words
        else str(answer.status_code)
    )


def _secret(given: SecretStr | None, file: Path | None, name: str) -> str | None:
    if file is not None:
        try:
            text = file.read_text().strip()
        except OSError as error:
            raise CortexError(f"`kms.vault.{name}`: {error.strerror}: {file}") from None
        if not text:
            raise CortexError(f"`kms.vault.{name}` is empty: {file}")
        return text
    return given.get_secret_value() if given is not None else None


def _check(settings: VaultSettings) -> None:
    try:
        parts = urlsplit(settings.address)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise CortexError("`kms.vault.address` must be such as `https://vault.example.org:8200`")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise CortexError("`kms.vault.address` must be `https://…`: keys come from there")
    by_token = settings.token is not None or settings.token_file is not None
    by_role = settings.secret_id is not None or settings.secret_id_file is not None
    if not by_token and not (settings.role_id and by_role):
        raise CortexError(
            "`kms.vault` needs a `token_file`, or a `role_id` with a `secret_id_file`"
        )
