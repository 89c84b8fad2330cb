"""One HTTP exchange: httpx's client over aiohttp's connections. No other module imports either.

    Request ──► httpx ──► proxy, TLS ──► sent once ──► read, decompressed, limited ──► Answer

httpx-aiohttp joins the two. An answer of 132 KB takes httpx's own transport 3.6 ms of CPU, this one 0.4 ms,
and aiohttp without httpx 0.1 ms. Redirects are not followed and cookies are not kept.

Errors of httpx and aiohttp become errors of docruns in `Transport._translate`, and nowhere else:

    UnreachableError, sent is False   no connection was made: the request has not left
    UnreachableError, sent is True    the request may have arrived
    ShapeError                        an answer came, and it is too large or cannot be decompressed
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import zlib
from base64 import b64encode
from collections.abc import Mapping
from contextvars import ContextVar
from http.cookiejar import CookieJar
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from ..core.errors import ConfigError, ShapeError, UnreachableError, is_file_limit
from ..core.settings import is_loopback
from .messages import ConnectionSettings, Request

# httpx logs whole URLs at INFO, page tokens included
logging.getLogger("httpx").setLevel(logging.WARNING)

_HOST = re.compile(r"[\w.:-]+")

_JSON = {"content-type": "application/json"}

_HEADER_BYTES, _HEADERS = 2**17, 1000
"""The longest line and the most lines of an answer's head. aiohttp's limits, 8 KB and 128 lines, are less than what
gateways add to an answer."""

_url: ContextVar[str] = ContextVar("_url")
"""The URL of the current task's request, as httpx has built it."""


class Answer(NamedTuple):
    """An answer of any status: its headers (names ignore case), its body decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Sends requests to one host over at most `concurrency` connections, which it keeps open.

    `connect_timeout` limits the seconds to connect, `timeout` those between two pieces of an answer,
    `total_timeout` the whole exchange. `max_response_mb` limits a body after decompression; reading ends there.
    Certificates are checked against certifi's list, or that of SSL_CERT_FILE and SSL_CERT_DIR. ConfigError if the
    proxy variable of the environment that applies to the host cannot be used.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._host = urlsplit(settings.base_url).netloc
        self._max_bytes = int(settings.max_response_mb * 2**20)
        self._proxy = proxy_for(settings.base_url)
        tls = _make_tls_context(settings.base_url)
        self._http = httpx.AsyncClient(
            headers={**settings.headers, "accept-encoding": "gzip"},
            cookies=_NoCookies(),
            # httpx-aiohttp hands `pool` on as the time for a whole connection: name, proxy, TLS
            timeout=httpx.Timeout(
                settings.timeout, connect=settings.connect_timeout, pool=settings.connect_timeout
            ),
            follow_redirects=False,
            # the proxy and the certificates of the environment are chosen above
            trust_env=False,
            transport=AiohttpTransport(
                verify=tls,
                proxy=self._proxy,
                # called by the first request, in the thread of its event loop
                client=lambda: aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=settings.concurrency, ssl=tls),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    middlewares=(_send_once,),
                    max_line_size=_HEADER_BYTES,
                    max_field_size=_HEADER_BYTES,
                    max_headers=_HEADERS,
                ),
            ),
        )

    async def exchange(self, request: Request) -> Answer:
        """The whole answer to a request. UnreachableError or ShapeError if there is none."""
        # as one text: httpx parses a base, a path and parameters one by one, which takes 0.08 ms
        url = f"{self._settings.base_url}{request.path}"
        if request.params:
            url += f"?{urlencode(request.params, quote_via=quote)}"
        try:
            sent = self._http.build_request(
                "GET" if request.body is None else "POST",
                url,
                content=request.body,
                headers=None if request.body is None else _JSON,
            )
            _url.set(str(sent.url))
            async with asyncio.timeout(self._settings.total_timeout):
                answer = await self._http.send(sent, stream=True)
                try:
                    body = await self._read(answer, str(request))
                except ShapeError:
                    # the status of a refusal says more than a body that cannot be read
                    if answer.is_success:
                        raise
                    body = b""
                finally:
                    await answer.aclose()
        except httpx.InvalidURL as error:
            problem = f"cannot be requested: {error}"
            raise ShapeError(problem, request=str(request), retryable=False) from error
        except (httpx.TransportError, aiohttp.ClientError, OSError) as error:
            raise self._translate(error, str(request)) from error
        return Answer(answer.status_code, answer.headers, body)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _read(self, answer: httpx.Response, request: str) -> bytes:
        """The body, decompressed.

        httpx's decoders are not used: they inflate a piece of 16 KB to up to 16 MB before a limit can be
        checked, accept gzip without its end or with more behind it, read only its first member, and decode codings
        that were not asked for.
        """
        coding = answer.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "", "gzip", "x-gzip"):
            raise ShapeError(f"an answer in {coding!r}, which was not asked for", request=request)
        length = answer.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(f"{int(length):,} bytes", request)
        inflater = _Inflater(request) if coding.endswith("gzip") else None
        pieces, size = [], 0
        async for piece in answer.aiter_raw():
            if inflater is not None:
                piece = inflater.inflate(piece, self._max_bytes + 1 - size)
            size += len(piece)
            if size > self._max_bytes:
                raise self._too_large(f"more than {self._max_bytes:,} bytes", request)
            pieces.append(piece)
        if inflater is not None and not inflater.is_at_end:
            raise ShapeError("cannot be decompressed: the end is missing", request=request)
        return b"".join(pieces)

    def _too_large(self, size: str, request: str) -> ShapeError:
        limit = f"max_response_mb is {self._settings.max_response_mb:g}"
        return ShapeError(f"an answer of {size}; {limit}", request=request, retryable=False)

    def _translate(self, error: Exception, request: str) -> UnreachableError:
        """An error of httpx or aiohttp as docruns's, without URLs: these carry page tokens."""
        # httpx-aiohttp says ConnectTimeout for a connection that broke after sending, and for a
        # refused one: aiohttp's own error, the cause, tells whether the request may have left
        cause = error.__cause__ if isinstance(error, httpx.TransportError) else error
        failure, sent = "", False
        match cause:
            case aiohttp.ClientConnectorCertificateError(certificate_error=problem):
                reason = getattr(problem, "verify_message", str(problem))
                hint = "if it is your own, name it by SSL_CERT_FILE"
                failure = f"its certificate is not trusted ({reason}); {hint}"
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                reason = getattr(cause, "message", "") or getattr(cause, "os_error", cause)
                address = self._proxy.url if self._proxy else ""
                failure = f"the proxy {address} does not connect: {reason}"
            case aiohttp.ClientConnectorDNSError() if self._proxy:
                failure = f"the proxy {self._proxy.url} does not connect: {cause.os_error}"
            case aiohttp.ClientConnectorError():
                failure = str(cause.os_error)
            case aiohttp.ConnectionTimeoutError():
                through = f" through the proxy {self._proxy.url}" if self._proxy else ""
                failure = f"no connection{through} within {self._settings.connect_timeout:g} s"
            case _:
                failure, sent = self._describe_break(cause or error), True
        failure = failure if sent else f"cannot reach {self._host}: {failure}"
        has_no_files = cause is not None and is_file_limit(cause)
        is_lasting = has_no_files or isinstance(cause, aiohttp.ClientConnectorCertificateError)
        found = UnreachableError(failure, request=request, retryable=not is_lasting)
        if has_no_files:
            found.advice = (
                "Raise the limit of open files, for example with `ulimit -n 1024`, then start again."
            )
        found.sent = sent
        return found

    def _describe_break(self, error: BaseException) -> str:
        """What ended an exchange on a connection that was made."""
        match error:
            case aiohttp.ServerTimeoutError():
                return f"no answer within {self._settings.timeout:g} s"
            case TimeoutError():
                return f"no end within {self._settings.total_timeout:g} s"
            case aiohttp.ClientConnectionError():
                return f"the connection broke: {error}"
            case aiohttp.ClientResponseError(message=reason):
                return f"not HTTP: {reason}"
            case aiohttp.ClientPayloadError():
                return f"the answer was cut off: {_innermost(error)}"
        return f"{type(error).__name__}: {error}"


def proxy_for(url: str) -> httpx.Proxy | None:
    """The proxy for a URL by HTTPS_PROXY, ALL_PROXY and NO_PROXY, or by the system's settings.

    None for this machine's own addresses. httpx does not choose, because it would refuse each proxy variable
    that it cannot use, also one that does not apply (ALL_PROXY=socks5://… beside HTTPS_PROXY), without its
    name, and it knows no exceptions of the system's settings.
    """
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    name = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if name is None:
        return None
    address = proxies[name]
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
        # both accept what the other refuses; aiohttp would refuse it with each request
        if not _HOST.fullmatch(URL(str(proxy.url)).host or ""):
            raise ValueError("it names no host")
    except (ValueError, httpx.InvalidURL) as error:
        # some of these errors quote the address, which may hold a password
        hint = "Write http://host:port, or remove the variable."
        raise ConfigError(f"{name.upper()}_PROXY", "is not the address of a proxy.", hint) from error
    if proxy.url.scheme not in ("http", "https"):
        problem = f"{proxy.url.scheme} proxies are not supported; name an HTTP one."
        raise ConfigError(f"{name.upper()}_PROXY", problem)
    if proxy.auth is None:
        return proxy
    # as a header: httpx-aiohttp gives a password to aiohttp in a form that aiohttp will remove
    password = b64encode(":".join(proxy.auth).encode()).decode()
    return httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Basic {password}"})


def _make_tls_context(url: str) -> ssl.SSLContext:
    if not url.startswith("https"):
        # to read the list of authorities takes longer than a small load: plain HTTP needs none
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        place = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        problem = f"{place} holds no certificates: {error.strerror or error}."
        raise ConfigError("SSL_CERT_FILE", problem, "Name a PEM file, or remove the variable.") from error


class _NoCookies(CookieJar):
    """Keeps no cookie. A policy that refuses each one takes 0.02 ms more for an answer."""

    def extract_cookies(self, *_: object) -> None:
        """Nothing."""


class _BrokenError(aiohttp.ClientConnectionError):
    """Replaces the errors after which aiohttp sends a request once more, uncounted."""


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    url = _url.get()
    if str(request.url) != url:
        # aiohttp writes %3B in a path as ; and %3D as =: an id is sent as it was encoded
        request.url = URL(url, encoded=True)
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        # after these aiohttp sends a GET a second time if the connection is not a new one
        raise _BrokenError(str(error)) from error


class _Inflater:
    """Decompresses a gzip body: members one after the other, whatever their headers hold, and zeros behind them.

    RFC 1952 allows many members; servers that compress piece by piece send them. Zeros fill up a block.
    """

    def __init__(self, request: str) -> None:
        self._request = request
        self._member: zlib._Decompress | None = None
        self._has_begun = False

    @property
    def is_at_end(self) -> bool:
        """No member is open; also where nothing came."""
        return self._member is None

    def inflate(self, data: bytes, limit: int) -> bytes:
        """At most `limit` bytes of what a piece holds: more is a body that is too large. ShapeError if it is no gzip."""
        found = []
        while data and limit > 0:
            if self._member is None:
                data = data.lstrip(b"\0") if self._has_begun else data
                if not data:
                    break
                self._member = zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(data, limit)
            except zlib.error as error:
                problem = "it goes on after its end" if self._has_begun else str(error)
                raise ShapeError(f"cannot be decompressed: {problem}", request=self._request) from error
            found.append(piece)
            limit -= len(piece)
            if not self._member.eof:
                break
            data, self._member, self._has_begun = self._member.unused_data, None, True
        return b"".join(found)


def _innermost(error: BaseException) -> str:
    """The innermost text: aiohttp wraps one repr into another."""
    cause = error.__cause__ or error.__context__
    return _innermost(cause) if isinstance(cause, Exception) and str(cause) else str(error)
