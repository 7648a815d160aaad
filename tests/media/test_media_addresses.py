"""No spelling of an address leads into the private network."""

import ipaddress
import socket
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.errors import ChiasmError, Forbidden, InvalidInput
from chiasm.media import fetch
from chiasm.media.addresses import check_address, parse_url
from chiasm.settings import Limits

LIMITS = Limits(fetch_seconds=2.0)

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2001:10::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2400::5efe:10.0.0.1",
    "2400::200:5efe:127.0.0.1",
]

PUBLIC = [
    "1.1.1.1",
    "93.184.216.34",
    "223.5.5.5",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_forbidden_by_name_and_by_number(address):
    with pytest.raises(Forbidden):
        check_address(address, "innocent.example", ())
    number = f"[{address}]" if ":" in address else address
    for url in (f"http://{number}/", f"https://{number}:8443/a"):
        with pytest.raises(Forbidden):
            fetch(url, LIMITS)
    with pytest.raises(Forbidden):
        fetch("http://innocent.example/", LIMITS, resolver=lambda host, port: [address])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    check_address(address, "example.org", ())


def test_one_private_address_among_several_is_enough():
    with pytest.raises(Forbidden):
        fetch("http://a.example/", LIMITS, resolver=lambda host, port: ["93.184.216.34", "127.0.0.1"])


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.1./",
        "http://0/",
        "http://127.0.0.0x1/",
        "http://００.0.0.1/x",
        "http://1２7.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://ⓛocalhost/",
        "http://[::1%25lo]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    ],
)
def test_every_spelling_of_loopback_is_refused(url):
    def resolver(host: str, port: int) -> list[str]:
        # as the C library would: it takes octal, hexadecimal and short forms
        if host.strip(".").lower() == "localhost":
            return ["127.0.0.1"]
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            return [socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))]

    with pytest.raises((Forbidden, InvalidInput)):
        fetch(url, LIMITS, resolver=resolver)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/a.png",
        "//example.org/",
        "file:///etc/passwd",
        "ftp://example.org/",
        "gopher://example.org/",
        "javascript:alert(1)",
        "http:/example.org",
        "http:///a",
        "http://",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://example.org@127.0.0.1/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:8o/",
        "http://exa mple.org/",
        "http://example.org/\r\nHost: evil",
        "http://example.org\\@127.0.0.1/",
        "http://exam%70le.org/",
        "http://-a.example/",
        "http://a..example/",
        "http://[::1/",
        "http://[1.2.3.4]/",
        "http://\ud800/",
        "http://" + "a" * 300 + ".org/",
        "http://example.org/" + "a" * 9000,
    ],
)
def test_what_two_parsers_might_read_differently_is_refused(url):
    with pytest.raises(InvalidInput) as caught:
        fetch(url, LIMITS, resolver=lambda host, port: pytest.fail("it was looked up"))
    assert caught.value.code == "invalid_url"


def test_an_ordinary_address_is_taken_apart():
    target = parse_url("HTTPS://Example.ORG:8443/a b".replace(" ", "%20") + "?q=猫&x=1#top")
    assert (target.scheme, target.host, target.port) == ("https", "example.org", 8443)
    assert target.path == "/a%20b?q=%E7%8C%AB&x=1"
    assert target.authority == "example.org:8443"
    assert parse_url("http://例子.中国").authority == "xn--fsqu00a.xn--fiqs8s"
    assert parse_url("http://[2606:4700::1111]/").authority == "[2606:4700::1111]"


@pytest.mark.parametrize(
    ("allow", "address", "host", "allowed"),
    [
        (("media.lan",), "10.1.2.3", "media.lan", True),
        (("media.lan",), "10.1.2.3", "other.lan", False),
        (("10.1.0.0/16",), "10.1.2.3", "any.lan", True),
        (("10.1.0.0/16",), "10.2.2.3", "any.lan", False),
        (("127.0.0.1",), "::ffff:127.0.0.1", "localhost", True),
        (("::1",), "::1", "localhost", True),
        (("::1",), "127.0.0.1", "localhost", False),
    ],
)
def test_the_allow_list_names_hosts_and_networks(allow, address, host, allowed):
    if allowed:
        check_address(address, host, allow)
    else:
        with pytest.raises(Forbidden):
            check_address(address, host, allow)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "http://[", "http://a@", "data:"]))
def test_any_text_is_an_address_or_refused(text, prefix):
    with suppress(ChiasmError):
        fetch(prefix + text, LIMITS, resolver=lambda host, port: ["127.0.0.1"])
