"""Servers beyond the sandbox: raw answers, TLS with an unknown certificate, a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# self-signed certificate of platform.test, localhost and 127.0.0.1, 2020 to 2120; it protects
# nothing
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLvb46mK2hbc44CaA
RS3yDeYCT1I5RTeM8cBELRMFaVqhRANCAAQXYTEEK3uAlTw21QioNUl+fmrkb7Qq
wgiv3vNw1Wf6ukuX7aN8g7Qn1UBi9IXVTjbpv9pTnZL9qnI/2A7jSzx8
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfTCCASSgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1wbGF0Zm9y
bS50ZXN0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD
VQQDDA1wbGF0Zm9ybS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEF2Ex
BCt7gJU8NtUIqDVJfn5q5G+0KsIIr97zcNVn+rpLl+2jfIO0J9VAYvSF1U426b/a
U52S/apyP9gO40s8fKNdMFswKQYDVR0RBCIwIIINcGxhdGZvcm0udGVzdIIJbG9j
YWxob3N0hwR/AAABMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFEc47jTSfs3O
ecHQTcAKSCKupMlaMAoGCCqGSM49BAMCA0cAMEQCIAqrwLmGA31nNjy2a43KSf4D
QACtg4/C6OZhxoRri2JPAiBpdNL5+uyPDBC5BSJ5w8c2nlp8m3Bkz7fTv2ZBrOlY
ug==
-----END CERTIFICATE-----
"""


def answer(body: bytes = b'{"data": []}', status: int = 200, **headers: str) -> bytes:
    """A complete answer; `content_encoding="gzip"` adds a header."""
    told = {"content-length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


class Raw:
    """Answers its n-th request with the n-th of the given bytes, later ones with the last; b"" closes.

    `requests` are the requests as received, `connections` the number of connections.
    """

    def __init__(self, *answers: bytes, tls: Path | None = None) -> None:
        self._answers = answers
        self._tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]

    def __enter__(self) -> Raw:
        _thread(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._open:
            # a thread that waits for data on the connection continues at once
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                self._open.append(connection)
                _thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self._tls)
                connection = context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            for request in _requests(connection):
                self.requests.append(request)
                reply = self._answers[min(len(self.requests), len(self._answers)) - 1]
                if not reply:
                    break
                connection.sendall(reply)
            connection.close()


class Proxy(Raw):
    """Connects every client to one port of this machine, or answers with another `status`."""

    def __init__(self, target: int, status: int = 200) -> None:
        super().__init__(b"")
        self._target, self._status = target, status

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            for request in _requests(connection):
                self.requests.append(request)
                connection.sendall(f"HTTP/1.1 {self._status} X\r\n\r\n".encode())
                if self._status != 200:
                    break
                other = socket.create_connection(("127.0.0.1", self._target))
                self._open.append(other)
                _thread(_pump, other, connection)
                _pump(connection, other)
                return
            connection.close()


def _requests(connection: socket.socket) -> Iterator[bytes]:
    """Complete requests, head and body."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            piece = connection.recv(65536)
            if not piece:
                return
            buffer += piece
        head, _, rest = buffer.partition(b"\r\n\r\n")
        length = next(
            (
                int(v)
                for k, _, v in (s.partition(b":") for s in head.split(b"\r\n"))
                if k.lower() == b"content-length"
            ),
            0,
        )
        while len(rest) < length:
            rest += connection.recv(65536)
        yield head + b"\r\n\r\n" + rest[:length]
        buffer = rest[length:]


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


def _thread(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


@contextmanager
def free_port() -> Iterator[int]:
    """A port on which no process listens inside the block."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
