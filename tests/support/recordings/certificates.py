"""A certificate for players, made once in a process."""

import ssl
import tempfile
from functools import cache
from pathlib import Path

from simulators.kit.certificates import self_signed


@cache
def server_context() -> tuple[ssl.SSLContext, str]:
    """TLS 1.3 only, as the gateways have it, and the certificate as PEM."""
    key, pem = self_signed("akash1player")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.TemporaryDirectory(prefix="cortex-player-") as folder:
        path = Path(folder) / "both.pem"
        path.write_text(key + pem)
        context.load_cert_chain(path)
    return context, pem
