"""Where webhooks may lead: no server of ours may be reached through one (SSRF).

A name is looked up at each attempt, and the connection goes to the very address that was checked:
what the name leads to a moment later does not matter.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a name, for a port, as text.

Raises:
    OSError: it has none.
"""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# Not known to Python 3.11: documentation (RFC 9637), and relays of 6to4 (RFC 7526).
_SPECIAL: Final = (
    ipaddress.IPv6Network("3fff::/20"),
    ipaddress.IPv4Network("192.88.99.0/24"),
)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_LOWEST_FREE: Final = 1024
_HIGHEST: Final = 65535
_WEB: Final = {"http": 80, "https": 443}


class Refused(Exception):
    """The URL may not be used; the text says why."""


@dataclass(frozen=True)
class Rules:
    """Where webhooks may lead besides public addresses.

    Attributes:
        allowed: Networks that are allowed although they are not public.
        allow_http: Whether public addresses may be spoken to without TLS.
    """

    allowed: tuple[Network, ...] = ()
    allow_http: bool = False


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for; any other as it is.

    Mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96) and 6to4 (2002::/16).
    """
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether it leads to the public internet, and to one machine of it."""
    real = unwrapped(address)
    if any(real in network for network in _SPECIAL if network.version == real.version):
        return False
    if isinstance(real, ipaddress.IPv6Address) and real not in _UNICAST:
        return False
    return real.is_global and not real.is_multicast and not real.is_reserved


def is_allowed(address: Address, rules: Rules, *, tls: bool) -> bool:
    """Whether a webhook may be sent to the address."""
    real = unwrapped(address)
    if any(real in network for network in rules.allowed if network.version == real.version):
        return True
    return is_public(address) and (tls or rules.allow_http)


def check_url(text: str, rules: Rules) -> "httpx.URL":
    """The URL, as far as it can be judged without looking up a name.

    Raises:
        Refused: it is none, or one that is never sent to.
    """
    import httpx  # takes some MiB, and many have no webhook

    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise Refused("is no URL") from None
    if url.scheme not in _WEB or not host:
        raise Refused("must begin with `https://` and name a host")
    if url.userinfo:
        raise Refused("may not have a user or password; put secrets into `headers`")
    if url.fragment:
        raise Refused("may not have a fragment (`#`)")
    literal = _literal(host)
    if literal is None and not _NAME.fullmatch(url.raw_host.decode("ascii")):
        raise Refused("must name a host by letters, digits, `-` and `.`")
    port = _WEB[url.scheme] if url.port is None else url.port
    if port > _HIGHEST or (port < _LOWEST_FREE and port not in _WEB.values()):
        raise Refused("may have the ports 80, 443 and those from 1024 on")
    if literal is not None and not is_allowed(literal, rules, tls=url.scheme == "https"):
        raise Refused(_why(url, rules))
    if literal is None and url.scheme == "http" and not rules.allow_http and not rules.allowed:
        raise Refused("must begin with `https://`: this server sends nothing in the clear")
    return url


async def addresses_of(url: "httpx.URL", rules: Rules, resolve: Resolve) -> list[str]:
    """The addresses that the URL's host has now and that may be connected to.

    Raises:
        Refused: it has none of these.
        OSError: the name has no address.
    """
    port = url.port or _WEB[url.scheme]
    host = url.raw_host.decode("ascii")
    literal = _literal(host)
    there = [host] if literal is not None else await resolve(host, port)
    tls = url.scheme == "https"
    allowed = [text for text in there if is_allowed(ipaddress.ip_address(text), rules, tls=tls)]
    if not allowed:
        raise Refused(_why(url, rules))
    return list(dict.fromkeys(allowed))


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name by the system's resolver.

    Raises:
        OSError: it has none.
    """
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"`{host[:60]}` is no name") from error
    return [str(info[4][0]).partition("%")[0] for info in infos]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _why(url: "httpx.URL", rules: Rules) -> str:
    if url.scheme == "http" and not rules.allow_http:
        return (
            "may not be sent to: without TLS (`http://`) only the networks of the setting "
            "`webhooks.allowed_networks` are"
        )
    return (
        "leads to an address that is not public; the setting `webhooks.allowed_networks` "
        "allows networks"
    )
