"""Which network addresses a server may connect to on a stranger's behalf. Pure: no sockets."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urlsplit

from chiasm.errors import Forbidden, InvalidInput

Address = IPv4Address | IPv6Address

_PRIVATE_V4 = tuple(
    ipaddress.IPv4Network(n)
    for n in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata and DNS, though it looks public
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(n)
    for n in (
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_URL = 8192


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed http(s) address: ``host`` is ASCII without brackets, ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str) -> Target:
    """Parse strictly: whatever two parsers might read differently is refused.

    Raises:
        InvalidInput: not an absolute http(s) address, or one with credentials, control characters,
            backslashes, or a host that is a disguised number.
    """
    if len(url) > _MAX_URL:
        raise _bad_url(f"one of {len(url)} characters", f"{len(url)} 个字符")
    if any(c <= " " or c in '\\"<>^`{|}\x7f' or "\ud800" <= c <= "\udfff" for c in url):
        raise _bad_url("one with spaces, control characters or backslashes", "含空格、控制字符或反斜杠的地址")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise _bad_url(str(error), str(error)) from error
    if split.scheme not in ("http", "https"):
        raise _bad_url(f"scheme {split.scheme[:20]!r}", f"协议 {split.scheme[:20]!r}")
    if "@" in split.netloc:
        raise _bad_url("one with a user name", "含用户名的地址")
    if port == 0:
        raise _bad_url("port 0", "端口 0")
    host = _host(split.hostname or "")
    path = quote(split.path or "/", safe="/%:@!$&'()*+,;=~-._[]")
    if split.query:
        path += "?" + quote(split.query, safe="/%:@!$&'()*+,;=~-._?[]")
    return Target(split.scheme, host, port or {"http": 80, "https": 443}[split.scheme], path)


def check_address(address: str, host: str, allow: Sequence[str]) -> None:
    """Raises Forbidden unless ``address`` is on the public Internet, or ``allow`` names it or ``host``.

    Args:
        address: what ``host`` resolved to.
        host: as in the URL.
        allow: hosts, addresses or networks (``10.1.0.0/16``).
    """
    ip = _ip(address)
    if ip is not None and (_is_public(ip) or _is_allowed(ip, host, allow)):
        return
    raise Forbidden(
        f"expected a public address, got {host} ({address}); limits.fetch_allow can name hosts and networks "
        "that may be fetched all the same",
        f"应为公网地址，实际为 {host}（{address}）；可在 limits.fetch_allow 中列出允许访问的主机或网段",
        code="private_address",
    )


def _host(host: str) -> str:
    if ":" in host:
        ip = _ip(host)
        if not isinstance(ip, IPv6Address) or ip.scope_id:
            raise _bad_url(f"host {host[:80]!r}", f"主机 {host[:80]!r}")
        return str(ip)
    try:
        ascii_host = host.encode("idna").decode("ascii").lower() if not host.isascii() else host.lower()
    except UnicodeError as error:
        raise _bad_url(f"host {host[:80]!r}", f"主机 {host[:80]!r}") from error
    if len(ascii_host) > 253 or not _HOST.fullmatch(ascii_host):
        raise _bad_url(f"host {host[:80]!r}", f"主机 {host[:80]!r}")
    last = ascii_host.rstrip(".").rsplit(".", 1)[-1]
    if _NUMBER.fullmatch(last) and not isinstance(_ip(ascii_host), IPv4Address):
        raise _bad_url(f"host {host[:80]!r}, a number in disguise", f"伪装成数字的主机 {host[:80]!r}")
    return ascii_host


def _ip(address: str) -> Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _is_public(ip: Address) -> bool:
    if isinstance(ip, IPv6Address):
        embedded = ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if embedded is not None:
            return _is_public(embedded)
        isatap = (int(ip) >> 32) & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE)
        return ip in _GLOBAL_V6 and not isatap and not any(ip in network for network in _SPECIAL_V6)
    return not any(ip in network for network in _PRIVATE_V4)


def _is_allowed(ip: Address, host: str, allow: Sequence[str]) -> bool:
    plain = ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
    for entry in allow:
        name = entry.strip().lower()
        if name == host.rstrip("."):
            return True
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:
            continue  # a host name, and not this one
        if plain in network:
            return True
    return False


def _bad_url(got_en: str, got_zh: str) -> InvalidInput:
    return InvalidInput(
        f"expected an absolute http(s) or data address, got {got_en}",
        f"应为完整的 http(s) 或 data 地址，实际为{got_zh}",
        code="invalid_url",
    )
