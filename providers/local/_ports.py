"""Whether the ports that a job listens on are free: jobs share the network of this machine."""

import errno
import socket
from collections.abc import Sequence

from cortex.domain.spec import Port


def taken(ports: Sequence[Port]) -> list[str]:
    """Those that somebody has, as `8080/tcp`."""
    return [f"{port.port}/{port.protocol}" for port in ports if _is_taken(port)]


def _is_taken(port: Port) -> bool:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if port.protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port.port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
