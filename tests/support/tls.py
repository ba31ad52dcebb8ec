"""One TLS context for all clients of a process."""

import ssl

import httpx
import pytest


def share_tls_context() -> None:
    """Reading all authorities takes longer than most runs of a job; no simulator speaks TLS."""
    shared = ssl.create_default_context()
    put = pytest.MonkeyPatch().setattr
    put(httpx._transports.default, "create_ssl_context", lambda *_, **__: shared)
