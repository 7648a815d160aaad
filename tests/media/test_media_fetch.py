"""Fetching against a server on this machine, which the allow-list of the test names."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from chiasm.errors import FetchFailed, Forbidden, InvalidInput, TooLarge
from chiasm.media import fetch, from_base64
from chiasm.settings import Limits

LIMITS = Limits(fetch_seconds=5.0, file_bytes=10_000, fetch_allow=("good.example",))
Answer = Callable[[socket.socket, bytes], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """A port, and the requests that came to it."""
    requests: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                is_tls = b"\x16"  # a handshake, which this server answers at once
                while (
                    not request.startswith(is_tls)
                    and b"\r\n\r\n" not in request
                    and (more := connection.recv(65536))
                ):
                    request += more
                requests.append(request)
                try:
                    answer(connection, request)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def says(*chunks: bytes) -> Answer:
    return lambda connection, request: connection.sendall(b"".join(chunks))


def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def get(port: int, limits: Limits = LIMITS, resolver=loopback, path: str = "/a.png?x=1") -> bytes:
    return fetch(f"http://good.example:{port}{path}", limits, resolver=resolver)


def test_the_body_comes_from_the_checked_address_under_the_right_name():
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")) as (port, requests):
        assert get(port) == b"hello"
    head = requests[0].decode()
    assert head.startswith("GET /a.png?x=1 HTTP/1.1\r\n")
    assert f"Host: good.example:{port}\r\n" in head


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
def test_every_framing_of_a_body(answer):
    with server(says(answer)) as (port, _):
        assert get(port) == b"hello"


def test_the_name_is_looked_up_once_so_it_cannot_change_its_mind():
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    with server(says(b"HTTP/1.1 200 OK\r\n\r\nok")) as (port, _):
        assert get(port, resolver=lambda host, p: answers.pop(0)) == b"ok"
    assert len(answers) == 1


def test_every_redirect_is_checked_anew():
    def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    for target in ("http://evil.example/", "http://127.0.0.1/", "http://169.254.169.254/latest"):
        with (
            server(says(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n".encode())) as (port, requests),
            pytest.raises(Forbidden),
        ):
            get(port, resolver=resolver)
        assert len(requests) == 1


def test_a_redirect_leads_on():
    def answer(connection: socket.socket, request: bytes) -> None:
        if b"GET /b" in request:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nthere")
        else:
            connection.sendall(b"HTTP/1.1 301 Moved\r\nLocation: /b?c\r\nContent-Length: 0\r\n\r\n")

    with server(answer) as (port, requests):
        assert get(port) == b"there"
    assert len(requests) == 2


def test_redirects_are_counted():
    with (
        server(says(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")) as (port, requests),
        pytest.raises(FetchFailed, match="at most 3 redirects"),
    ):
        get(port)
    assert len(requests) == 4


def test_a_redirect_to_a_file_is_refused():
    with (
        server(says(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")) as (port, _),
        pytest.raises(InvalidInput),
    ):
        get(port)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" + b"x" * 0x4000 + b"\r\n0\r\n\r\n",
    ],
)
def test_bytes_are_bounded_whatever_the_header_says(answer):
    with server(says(answer)) as (port, _), pytest.raises(TooLarge):
        get(port)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no http at all\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut off",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    ],
)
def test_a_broken_answer_is_a_failed_fetch(answer):
    with server(says(answer)) as (port, _), pytest.raises(FetchFailed):
        get(port)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: "])
def test_an_answer_that_trickles_is_cut_off(head):
    over = threading.Event()

    def trickle(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        while not over.wait(0.02):
            connection.sendall(b"x")

    with server(trickle) as (port, _):
        try:
            with pytest.raises(FetchFailed, match=r"within 0\.3 s"):
                get(port, replace(LIMITS, fetch_seconds=0.3))
        finally:
            over.set()


def test_a_name_server_that_does_not_answer_is_cut_off():
    over = threading.Event()

    def stuck(host: str, port: int) -> list[str]:
        over.wait(10)
        return []

    with pytest.raises(FetchFailed, match=r"within 0\.1 s"):
        get(80, replace(LIMITS, fetch_seconds=0.1), resolver=stuck)
    over.set()


def test_nobody_there_is_a_failed_fetch():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(FetchFailed, match=r"good\.example"):
        get(port)

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    with pytest.raises(FetchFailed, match="no such name"):
        get(80, resolver=unknown)


def test_plain_http_behind_https_is_a_failed_fetch():
    with server(says(b"HTTP/1.1 200 OK\r\n\r\nhello")) as (port, _), pytest.raises(FetchFailed):
        fetch(f"https://good.example:{port}/", LIMITS, resolver=loopback)


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:,", b""),
        ("data:text/plain,a%20b", b"a b"),
        ("DATA:image/png;base64,aGVsbG8=", b"hello"),
        ("data:;base64,aGVsbG8", b"hello"),
        ("data:;base64,aGVs%0AbG8%3D", b"hello"),
        ("data:;base64,-_-_", b"\xfb\xff\xbf"),
    ],
)
def test_data_addresses(url, content):
    assert fetch(url, LIMITS) == content


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png;base64",
        "data:;base64,a",
        "data:;base64,%%%",
        "data:;base64,猫",
        "data:;base64,a=b=",
    ],
)
def test_bad_data_addresses_are_invalid_input(url):
    with pytest.raises(InvalidInput):
        fetch(url, LIMITS)


def test_data_is_bounded():
    for url in ("data:;base64," + "A" * 20_000, "data:," + "a" * 10_001):
        with pytest.raises(TooLarge):
            fetch(url, LIMITS)
    assert from_base64("aGVs\nbG8=\r\n", LIMITS) == b"hello"
