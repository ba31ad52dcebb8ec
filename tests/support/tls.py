"""One TLS context for all clients of a process."""

import ssl
from typing import Any

import httpx
import pytest


def share_tls_context() -> None:
    """Reading all authorities for each client takes longer than most tests do.

    Clients that verify in a way of their own still get a context of their own.
    """
    make = httpx.create_ssl_context
    shared = make()

    def context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        usual = verify is True and cert is None and trust_env
        return shared if usual else make(verify=verify, cert=cert, trust_env=trust_env)

    pytest.MonkeyPatch().setattr(httpx._transports.default, "create_ssl_context", context)
