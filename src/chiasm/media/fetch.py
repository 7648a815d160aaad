"""Fetch an address that a stranger named: public hosts only, bounded in bytes, time and redirects.

The host is resolved once, every address it resolves to is checked, and the socket is opened to exactly
such an address, so that a second answer of the name server cannot lead elsewhere. Proxies of the
environment are not used: a proxy would resolve again.
"""

import base64
import binascii
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote_to_bytes, urljoin

from chiasm.errors import ChiasmError, FetchFailed, InvalidInput, TooLarge
from chiasm.media.addresses import Target, check_address, parse_url
from chiasm.settings import Limits

Resolver = Callable[[str, int], list[str]]
"""Host and port → addresses in the order in which to try them; raises OSError."""

_REDIRECTS = {301, 302, 303, 307, 308}
_CHUNK = 1 << 16
_HEADERS = {"User-Agent": "chiasm", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


def fetch(
    url: str,
    limits: Limits,
    *,
    resolver: Resolver | None = None,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """The content at ``url``.

    Args:
        url: http(s) or data.
        limits: ``file_bytes``, ``fetch_seconds`` (in all, slow answers included), ``fetch_redirects``
            and ``fetch_allow``.
        resolver: instead of the system's.
        context: TLS, instead of the system's trust store.

    Raises:
        InvalidInput: not an address that can be fetched.
        Forbidden: a private, loopback, link-local, multicast, reserved or metadata address.
        FetchFailed: nobody there, an error status, a broken or too slow answer.
        TooLarge: more than ``limits.file_bytes``.
    """
    if url[:5].lower() == "data:":
        return from_data_url(url, limits)
    end = time.monotonic() + limits.fetch_seconds
    for _ in range(int(limits.fetch_redirects) + 1):
        target = parse_url(url)
        with _failures_named(target, limits):
            addresses = _resolve(target, resolver or system_resolver, end)
            for address in addresses:
                check_address(address, target.host, limits.fetch_allow)
            answer = _get(target, addresses, limits, end, context)
        if isinstance(answer, bytes):
            return answer
        url = _redirected(url, answer)
    raise FetchFailed(
        f"expected at most {limits.fetch_redirects} redirects, got more",
        f"重定向超过 {limits.fetch_redirects} 次",
    )


def from_data_url(url: str, limits: Limits) -> bytes:
    """The content of a ``data:`` address; raises InvalidInput or TooLarge."""
    head, comma, body = url.partition(",")
    if not comma:
        raise InvalidInput(
            "expected data:<type>;base64,<data>, got no comma", "应为 data:<类型>;base64,<数据>，实际缺少逗号"
        )
    if head.lower().endswith(";base64"):
        return from_base64(body if "%" not in body else _ascii(unquote_to_bytes(body)), limits)
    _check_size(len(body) - 2 * body.count("%"), limits)
    return unquote_to_bytes(body)


def from_base64(text: str, limits: Limits) -> bytes:
    """Decode standard or URL-safe base64, with or without line breaks and padding.

    Raises:
        InvalidInput: anything else.
        TooLarge: more than ``limits.file_bytes``.
    """
    _check_size(len(text) * 3 // 4 - 2, limits)
    try:
        data = text.encode("ascii").translate(None, b" \t\r\n\f").rstrip(b"=")
        if b"-" in data or b"_" in data:
            data = data.replace(b"-", b"+").replace(b"_", b"/")
        decoded = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"expected base64, got a character that is not ASCII at position {error.start}",
            f"应为 base64，实际第 {error.start} 个字符不是 ASCII",
        ) from error
    except binascii.Error as error:
        raise InvalidInput(
            f"expected base64, got something else: {error}", f"应为 base64，实际不是：{error}"
        ) from error
    _check_size(len(decoded), limits)
    return decoded


def system_resolver(host: str, port: int) -> list[str]:
    """The operating system's name lookup."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _resolve(target: Target, resolver: Resolver, end: float) -> list[str]:
    """Look the host up in a thread of its own: name servers may take longer than we may."""
    found: list[list[str] | Exception] = []

    def look_up() -> None:
        try:
            found.append(resolver(target.host, target.port))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True, name="chiasm-resolve")
    thread.start()
    thread.join(max(0.0, end - time.monotonic()))
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise found[0]
    if not found[0]:
        raise OSError("the host has no address")
    return found[0]


def _get(
    target: Target, addresses: list[str], limits: Limits, end: float, context: ssl.SSLContext | None
) -> bytes | str:
    """The body, or where a redirect leads."""
    with _connected(target, addresses, end) as connection, _cut_off(connection, end) as late:
        try:
            answer = _exchange(connection, target, limits, context)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if late.is_set():
                raise TimeoutError from error
            raise
        if late.is_set():  # to the reader, being cut off looks like the end of the body
            raise TimeoutError
        return answer


def _exchange(
    raw: socket.socket, target: Target, limits: Limits, context: ssl.SSLContext | None
) -> bytes | str:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.auto_open = 0  # never a second connection, to an address that nobody checked
    if target.scheme == "https":
        secure = context or ssl.create_default_context()
        connection.sock = secure.wrap_socket(raw, server_hostname=target.host)
    else:
        connection.sock = raw
    try:
        connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": target.authority, **_HEADERS}.items():
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as response:
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                return location
            return _body(response, limits)
    finally:
        connection.close()


def _body(response: http.client.HTTPResponse, limits: Limits) -> bytes:
    if response.status != 200:
        raise FetchFailed(
            f"expected status 200, got {response.status}", f"应返回状态 200，实际为 {response.status}"
        )
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed(
            "expected an uncompressed answer, got a compressed one", "应返回未压缩的内容，实际为压缩内容"
        )
    _check_size(response.length or 0, limits)
    chunks, size = [], 0
    while chunk := response.read(min(_CHUNK, limits.file_bytes + 1)):
        size += len(chunk)
        _check_size(size, limits)
        chunks.append(chunk)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(chunks)


@contextmanager
def _connected(target: Target, addresses: list[str], end: float) -> Iterator[socket.socket]:
    """A socket to the first of the checked addresses that answers."""
    failure: OSError = OSError("no address")
    for address in addresses:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            connection = socket.create_connection((address, target.port), timeout=left)
        except OSError as error:
            failure = error
            continue
        with connection:
            yield connection
            return
    raise failure


@contextmanager
def _cut_off(connection: socket.socket, end: float) -> Iterator[threading.Event]:
    """Shut the connection down at ``end``: an answer that trickles never trips a timeout of its own.

    The duplicate stays valid when TLS takes the socket over.
    """
    late = threading.Event()
    handle = connection.dup()

    def shut() -> None:
        late.set()
        try:
            handle.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is over already

    timer = threading.Timer(max(0.0, end - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        handle.close()


@contextmanager
def _failures_named(target: Target, limits: Limits) -> Iterator[None]:
    try:
        yield
    except ChiasmError:
        raise
    except TimeoutError as error:
        raise FetchFailed(
            f"expected {target.host} to answer within {limits.fetch_seconds:g} s, got a slower answer",
            f"{target.host} 未在 {limits.fetch_seconds:g} 秒内答复",
        ) from error
    except (OSError, UnicodeError, http.client.HTTPException, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise FetchFailed(
            f"expected an answer from {target.host}, got: {reason}", f"无法从 {target.host} 读取：{reason}"
        ) from error


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise FetchFailed(
            f"expected an address to go on to, got: {error}", f"重定向地址无效：{error}"
        ) from error


def _ascii(data: bytes) -> str:
    return data.decode("ascii", "replace")


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise TooLarge(
            f"expected at most {limits.file_bytes} bytes, got at least {size}",
            f"内容最多 {limits.file_bytes} 字节，实际至少 {size} 字节",
        )
