"""No server of ours is reached through a webhook."""

import ipaddress

import httpx
import pytest

from cortex.webhooks.addresses import (
    Refused,
    Rules,
    addresses_of,
    check_url,
    is_public,
    look_up,
    unwrapped,
)

REFUSED = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"),
    # Loopback, link-local, site-local, unique local, multicast, none, documentation, others.
    *("::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("3fff::1", "100::1", "2001::1", "2001:10::1", "5f00::1", "64:ff9b:1::a00:1"),
    # IPv4 within IPv6: mapped, compatible, NAT64, 6to4.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::e000:1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:101::1", "2002:e000:1::"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "2606:4700::1111", "2a00:1450::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
]


@pytest.mark.parametrize("address", REFUSED)
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("wrapped", "real"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("64:ff9b::10.1.2.3", "10.1.2.3"),
        ("2002:a01:203::1", "10.1.2.3"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("10.1.2.3", "10.1.2.3"),
    ],
)
def test_unwrapped(wrapped: str, real: str) -> None:
    assert unwrapped(ipaddress.ip_address(wrapped)) == ipaddress.ip_address(real)


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com",
            "https://example.com/hook?a=b",
            "https://example.com:8443/",
            "https://example.com:80/",
            "https://1.1.1.1/",
            "https://[2606:4700::1111]:1024/x",
            "https://b\u00fccher.example/",
        ],
    )
    def test_taken(self, url: str) -> None:
        check_url(url, Rules())

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("ftp://example.com/", "must begin with `https://`"),
            ("https:///x", "name a host"),
            ("example.com/x", "must begin with `https://`"),
            ("http://example.com/", "sends nothing in the clear"),
            ("https://ann@example.com/", "may not have a user"),
            ("https://ann:s3@example.com/", "may not have a user"),
            ("https://example.com/#x", "fragment"),
            ("https://example.com:22/", "ports"),
            ("https://example.com:1023/", "ports"),
            ("https://example.com:99999/", "ports"),
            ("https://example.com:0/", "ports"),
            ("https://127.0.0.1/", "not public"),
            ("https://[::1]/", "not public"),
            ("https://[64:ff9b::7f00:1]/", "not public"),
            ("https://[2002:7f00:1::]/", "not public"),
            ("http://1.1.1.1/", "without TLS"),
            ("https://exa mple.com/", "must name a host"),
            ("https://[::1/", "is no URL"),
        ],
    )
    def test_refused(self, url: str, why: str) -> None:
        with pytest.raises(Refused, match=why):
            check_url(url, Rules())

    def test_networks_and_http_that_are_allowed(self) -> None:
        rules = Rules(allowed=(ipaddress.ip_network("10.0.0.0/8"),))
        check_url("http://10.1.2.3:8080/", rules)
        check_url("https://[64:ff9b::10.1.2.3]/", rules)
        check_url("http://inside.example/", rules)  # where it leads is known when it is sent
        for url in ("http://1.1.1.1/", "https://127.0.0.1/", "http://[2606:4700::1111]/"):
            with pytest.raises(Refused):
                check_url(url, rules)
        check_url("http://1.1.1.1/", Rules(allow_http=True))


class TestLookedUp:
    @pytest.mark.parametrize("address", REFUSED)
    async def test_a_name_that_leads_inside(self, address: str) -> None:
        async def inside(host: str, port: int) -> list[str]:
            return [address]

        with pytest.raises(Refused, match="not public"):
            await addresses_of(httpx.URL("https://trap.example/"), Rules(), inside)

    async def test_only_what_is_public_is_left(self) -> None:
        async def mixed(host: str, port: int) -> list[str]:
            assert (host, port) == ("mixed.example", 443)
            return ["127.0.0.1", "1.1.1.1", "::1", "1.1.1.1"]

        url = httpx.URL("https://mixed.example/")
        assert await addresses_of(url, Rules(), mixed) == ["1.1.1.1"]

    @pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "017700000001"])
    async def test_other_ways_to_write_loopback(self, host: str) -> None:
        """The system's resolver reads them; what it makes of them is checked."""
        url = check_url(f"https://{host}/", Rules())
        with pytest.raises(Refused, match="not public"):
            await addresses_of(url, Rules(), look_up)

    async def test_http_to_a_public_address(self) -> None:
        async def public(host: str, port: int) -> list[str]:
            return ["1.1.1.1"]

        rules = Rules(allowed=(ipaddress.ip_network("10.0.0.0/8"),))
        with pytest.raises(Refused, match="without TLS"):
            await addresses_of(httpx.URL("http://name.example/"), rules, public)
