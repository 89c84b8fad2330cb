"""One HTTP exchange: the only owner of aiohttp, which speaks of what goes wrong in httpx's words.

    method, path ──► proxy? ──► TLS ──► sent once ──► read, inflated, limited ──► Answer

httpx's own asynchronous transport takes six times the CPU on large bodies, and its client in front of
this transport another 0.15 ms a request. This one sends nothing twice by itself, follows no redirect,
keeps no cookies, and calls what goes wrong by its name:

    ConnectError, ConnectTimeout, ProxyError, UntrustedError     the request has not left
    ReadError, ReadTimeout, RemoteProtocolError                  it may have arrived
    DecodingError, TooLargeError                                 it was answered
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ssl import SSLContext
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from ..core.errors import ConfigError

_JSON = {"content-type": "application/json"}


class Answer(NamedTuple):
    """What came back: its headers with lower-case names, its body decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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


class Transport:
    """Sends requests to one host over at most `connections` kept connections.

    Seconds: `idle_s` to connect and between two pieces of an answer, `total_s` for all of it.
    `max_bytes` limits a body as it is after decompression, and ends reading there. Certificates are
    checked against certifi's list, or that of SSL_CERT_FILE and SSL_CERT_DIR.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        idle_s: float,
        total_s: float,
        max_bytes: int,
        proxy: httpx.Proxy | None = None,
    ) -> None:
        self._base_url = str(httpx.URL(base_url)).rstrip("/")
        self._headers = {"accept-encoding": "gzip", **headers}
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=idle_s, sock_read=idle_s)
        self._max_bytes = max_bytes
        self._proxy = str(proxy.url) if proxy else None
        self._proxy_headers = _proxy_headers(proxy) if proxy else None
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self, path: str, params: tuple[tuple[str, str | int], ...] = (), body: bytes | None = None
    ) -> Answer:
        """The whole answer to a GET of `path`, or to a POST of `body`, which is JSON."""
        if self._session is None:
            self._session = self._open()
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        with self._named():
            async with self._session.request(
                "GET" if body is None else "POST",
                # as it is: an id is one part of the path, whatever it holds
                URL(f"{self._base_url}{path}{query}", encoded=True),
                # of the session they would go to a proxy as well, key and all
                headers=self._headers if body is None else self._headers | _JSON,
                data=body,
                allow_redirects=False,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            ) as answer:
                content = await _read(answer, self._max_bytes)
                headers = {key.lower(): value for key, value in answer.headers.items()}
                return Answer(answer.status, headers, content)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        # reading the list of authorities takes longer than a small load
        tls = self._base_url.startswith("https")
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
