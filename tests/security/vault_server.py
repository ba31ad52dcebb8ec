"""A server that answers as the documentation of Vault's HTTP API says, and knows no more of it.

Transit: `POST /v1/<mount>/decrypt/<key>` and `/datakey/wrapped/<key>`. AppRole: `POST
/v1/auth/approle/login`, a `client_token` in `auth`. Errors: a list `errors` under a status of the
table in "Status codes": 400 for what is not valid, 403 for what is not allowed, 404 for what is
not there, 503 while it is sealed.
"""

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cortex.security import sealing

ROLE, SECRET_ID = "role-1", "secret-id-1"


@dataclass
class FakeVault:
    """What it has, and what was asked."""

    url: str = ""
    sealed: bool = False
    redirects: bool = False
    answers: dict[str, Any] = field(default_factory=dict)
    """A path and what is answered there instead: a status and a body."""
    tokens: set[str] = field(default_factory=lambda: {"root-token"})
    keys: dict[str, bytes] = field(default_factory=lambda: {"cortex": os.urandom(32)})
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def wrap(self, key: bytes, name: str = "cortex") -> str:
        nonce = os.urandom(12)
        sealed = nonce + sealing.seal(self.keys[name], nonce, base64.b64encode(key), b"")
        return f"vault:v1:{base64.b64encode(sealed).decode()}"

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append((path, headers))
        if path in self.answers:
            status, content = self.answers[path]
            return status, content
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if path == "/v1/auth/approle/login":
            return self._login(body)
        token = headers.get("x-vault-token")
        if token is None:
            return 400, {"errors": ["missing client token"]}
        if token not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        if path == "/v1/auth/token/revoke-self":
            self.tokens.discard(token)
            return 204, None
        mount, verb, *rest = path.removeprefix("/v1/").split("/")
        if mount != "transit":
            return 404, {"errors": [f'no handler for route "{path.removeprefix("/v1/")}".']}
        if verb == "decrypt" and len(rest) == 1:
            return self._decrypt(rest[0], body)
        if verb == "datakey" and rest[0] == "wrapped" and rest[1] in self.keys:
            bits = body.get("bits", 256)
            wrapped = self.wrap(os.urandom(bits // 8), rest[1])
            return 200, _content({"ciphertext": wrapped, "key_version": 1})
        return 400, {"errors": ["encryption key not found"]}

    def _login(self, body: dict[str, Any]) -> tuple[int, Any]:
        if (body.get("role_id"), body.get("secret_id")) != (ROLE, SECRET_ID):
            return 400, {"errors": ["invalid role or secret ID"]}
        token = f"hvs.{os.urandom(9).hex()}"
        self.tokens.add(token)
        auth = {
            "renewable": True,
            "lease_duration": 1200,
            "metadata": None,
            "token_policies": ["default"],
            "accessor": "fd6c9a00-d2dc-3b11-0be5-af7ae0e1d374",
            "client_token": token,
        }
        return 200, {"auth": auth, "warnings": None, "wrap_info": None, "data": None}

    def _decrypt(self, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        if name not in self.keys:
            return 400, {"errors": ["encryption key not found"]}
        ciphertext = body.get("ciphertext", "")
        if not ciphertext.startswith("vault:v1:"):
            return 400, {"errors": ["invalid ciphertext: no prefix"]}
        raw = base64.b64decode(ciphertext.removeprefix("vault:v1:"))
        plain = sealing.unseal(self.keys[name], raw[:12], raw[12:], b"")
        if plain is None:
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, _content({"plaintext": plain.decode()})


def _content(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": "8375227a-4a9f-a108-0b89-84c448419e80",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


@contextmanager
def serving(vault: FakeVault, port: int = 0) -> Iterator[FakeVault]:
    """The server over real HTTP, on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(size) or b"{}")
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, content = vault.answer(self.path, headers, body)
            raw = (
                b""
                if content is None
                else (
                    content.encode() if isinstance(content, str) else json.dumps(content).encode()
                )
            )
            self.send_response(307 if vault.redirects else status)
            if vault.redirects:
                self.send_header("location", f"{vault.url}/elsewhere")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    vault.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield vault
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
