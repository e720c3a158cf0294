"""Which URLs an agent's tools may reach."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.agents.tools.safe_url import (
    Target,
    UnsafeUrlError,
    UrlPolicy,
    check_addresses,
    check_url,
    is_public,
)

HTTP = UrlPolicy(http=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.01/",
        "http://1.2.3.4.5/",
        "http://0x/",
        "http://a.0x7f/",
        "http://256.1.1.1/",
        "http://[::1%25lo]/",
        "http://[fe80::1%eth0]/",
        "http://[::1/",
        "http://[::1]evil.example/",
        "http://[v1.x]/",
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://hooks.slack.com@evil.example/",
        "https://example.com\\@127.0.0.1/",
        "https:\\\\example.com/",
        "https://example.com/\r\nX: y",
        "https://example.com/a b",
        "https://exa\tmple.com/",
        "https://example.com\x00.evil.example/",
        "https://127\u30020\u30020\u30021/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://example.com:x/",
        "https://%31%32%37.0.0.1/",
        "https:///path",
        "https://",
        "https:example.com",
        "//example.com/",
        "example.com",
        "",
        "gopher://example.com/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "data:text/plain,x",
        "javascript:alert(1)",
        "https://-example.com/",
        "https://example..com/",
        "https://" + "a" * 300 + "/",
        "https://example.com/" + "a" * 9000,
    ],
)
def test_H3_B6_a_url_that_parsers_could_read_differently_is_refused(url: str) -> None:
    with pytest.raises(UnsafeUrlError, match=r"^refused"):
        check_url(url, HTTP)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com", "example.com", 443),
        ("HTTPS://Example.COM./a?b=c#d", "example.com", 443),
        ("https://example.com:8443/x", "example.com", 8443),
        ("https://example.com:/x", "example.com", 443),
        ("https://93.184.215.14/", "93.184.215.14", 443),
        ("https://[2606:4700::1111]:444/", "2606:4700::1111", 444),
        ("https://xn--bcher-kva.example/%C3%A4", "xn--bcher-kva.example", 443),
        ("http://example.com/@me", "example.com", 80),
    ],
)
def test_plain_urls_pass(url: str, host: str, port: int) -> None:
    target = check_url(url, HTTP)
    assert (target.host, target.port) == (host, port)


def test_plain_http_needs_the_setting_or_an_explicit_permission() -> None:
    with pytest.raises(UnsafeUrlError, match="use https"):
        check_url("http://example.com/", UrlPolicy())
    with pytest.raises(UnsafeUrlError, match="use https"):
        check_url("http://127.0.0.1:81/", UrlPolicy(permitted=frozenset({"127.0.0.1:80"})))
    assert check_url("http://127.0.0.1:80/", UrlPolicy(permitted=frozenset({"127.0.0.1:80"}))).port == 80


def test_an_allow_list_names_all_that_can_be_reached() -> None:
    policy = UrlPolicy(allow=("api.example.com", "*.example.org"))
    check_url("https://api.example.com/", policy)
    check_url("https://a.b.example.org/", policy)
    for other in ("example.com", "example.org", "evilexample.org", "api.example.com.evil.example"):
        with pytest.raises(UnsafeUrlError, match="allowed hosts"):
            check_url(f"https://{other}/", policy)


PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "fd00::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "not an address",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_H3_an_address_that_is_not_public_is_refused(address: str) -> None:
    target = Target(url="https://x.example/", scheme="https", host="x.example", port=443)
    assert not is_public(address)
    with pytest.raises(UnsafeUrlError, match="not a public address"):
        check_addresses(target, ["93.184.215.14", address], UrlPolicy())


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001:830::200e"])
def test_public_addresses_pass(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_no_special_address_of_any_registry_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    special = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    mapped = isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour or address.teredo)
    if special or mapped or address.is_reserved or address.is_unspecified:
        assert not is_public(str(address))
