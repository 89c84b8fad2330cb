"""One HTTP exchange: the only owner of aiohttp, dressed as a transport of httpx.

    httpx.Request ──► proxy? ──► TLS ──► sent once ──► read, inflated, limited ──► httpx.Response

httpx's own asynchronous transport takes six times the CPU on large bodies. This one sends nothing
twice by itself, follows no redirect, keeps no cookies, and calls what goes wrong by its name:

    ConnectError, ConnectTimeout, ProxyError, UntrustedError     the request has not left
    ReadError, ReadTimeout, RemoteProtocolError                  it may have arrived
    DecodingError, TooLargeError                                 it was answered
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ssl import SSLContext
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx

from .errors import ConfigError


class UntrustedError(httpx.ConnectError):
    """The certificate of the host, or of what stands in its place, is not to be trusted."""


class TooLargeError(httpx.DecodingError):
    """An answer larger than it may be."""


class _ClosedError(aiohttp.ClientConnectionError):
    """In place of those errors after which aiohttp sends a request once more, uncounted."""


def proxy_for(url: str) -> httpx.Proxy | None:
    """The proxy for a URL by HTTPS_PROXY, ALL_PROXY and NO_PROXY, or by the system's settings."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    for name in (parts.scheme, "all"):
        if address := proxies.get(name):
            try:
                proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
            except ValueError as error:
                raise ConfigError(f"{name.upper()}_PROXY", f"is no proxy: {error}.") from error
            if proxy.url.scheme in ("http", "https"):
                return proxy
            problem = f"{proxy.url.scheme} proxies are not supported; name an HTTP one."
            raise ConfigError(f"{name.upper()}_PROXY", problem)
    return None


class Transport(httpx.AsyncBaseTransport):
    """Sends requests over at most `connections` kept connections.

    Seconds: `idle_s` to connect and between two pieces of an answer, `total_s` for all of it.
    `max_bytes` limits a body as it is after decompression, and ends reading there. Certificates are
    checked against certifi's list, or that of SSL_CERT_FILE and SSL_CERT_DIR.
    """

    def __init__(
        self,
        *,
        connections: int,
        idle_s: float,
        total_s: float,
        max_bytes: int,
        proxy: httpx.Proxy | None = None,
    ) -> None:
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=idle_s, sock_read=idle_s)
        self._max_bytes = max_bytes
        self._proxy = str(proxy.url) if proxy else None
        self._proxy_headers = _proxy_headers(proxy) if proxy else None
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The whole answer to one request."""
        if self._session is None:
            self._session = self._open(request.url.scheme == "https")
        with self._named():
            async with self._session.request(
                request.method,
                str(request.url),
                headers=request.headers,
                data=request.content or None,
                allow_redirects=False,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            ) as answer:
                body = await _read(answer, self._max_bytes)
        headers = [pair for pair in answer.raw_headers if pair[0].lower() != b"content-encoding"]
        return httpx.Response(answer.status, headers=headers, content=body)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self, tls: bool) -> aiohttp.ClientSession:
        # reading the list of authorities takes longer than a small load
        context: SSLContext | bool = httpx.create_ssl_context() if tls else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=context),
            timeout=self._timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_once,),
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """aiohttp's errors as httpx's, without the URLs in their texts: these carry page tokens."""
        idle_s = self._timeout.sock_read
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", error.certificate_error)
            hint = "if it is your own, name it by SSL_CERT_FILE"
            raise UntrustedError(f"its certificate is not trusted ({reason}); {hint}") from error
        except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
            reason = getattr(error, "message", "") or str(getattr(error, "os_error", error))
            raise httpx.ProxyError(f"the proxy {self._proxy} does not connect: {reason}") from error
        except aiohttp.ClientConnectorError as error:
            raise httpx.ConnectError(str(error.os_error)) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {idle_s:g} s") from error
        except aiohttp.ServerTimeoutError as error:
            raise httpx.ReadTimeout(f"no answer within {idle_s:g} s") from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no end within {self._timeout.total:g} s") from error
        except aiohttp.ClientConnectionError as error:
            raise httpx.ReadError(f"the connection broke: {error}") from error
        except aiohttp.ClientResponseError as error:
            raise httpx.RemoteProtocolError(f"not HTTP: {error.message}") from error
        except aiohttp.ClientPayloadError as error:
            raise httpx.RemoteProtocolError(f"the answer was cut off: {_first(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise httpx.ReadError(f"{type(error).__name__}: {error}") from error


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _ClosedError(str(error)) from error


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip"):
        # never inflated: only gzip was asked for
        raise httpx.DecodingError(f"an answer in {coding!r}, which was not asked for")
    if (answer.content_length or 0) > limit:
        raise TooLargeError(f"an answer of {answer.content_length:,} bytes")
    inflater = zlib.decompressobj(wbits=31) if coding.endswith("gzip") else None
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        if inflater is not None:
            try:
                piece = inflater.decompress(piece, limit + 1 - size)
            except zlib.error as error:
                raise httpx.DecodingError(f"cannot be decompressed: {error}") from error
            if inflater.unused_data:
                raise httpx.DecodingError("cannot be decompressed: it goes on after its end")
        size += len(piece)
        if size > limit:
            raise TooLargeError(f"an answer of more than {limit:,} bytes")
        pieces.append(piece)
    if inflater is not None and pieces and not inflater.eof:
        raise httpx.DecodingError("cannot be decompressed: the end is missing")
    return b"".join(pieces)


def _proxy_headers(proxy: httpx.Proxy) -> dict[str, str]:
    headers = dict(proxy.headers)
    if proxy.auth is not None:
        user = b64encode(":".join(proxy.auth).encode()).decode()
        headers["proxy-authorization"] = f"Basic {user}"
    return headers


def _first(error: Exception) -> str:
    """The innermost text: aiohttp wraps one repr into another."""
    cause = error.__cause__ or error.__context__
    return _first(cause) if isinstance(cause, Exception) and str(cause) else str(error)
