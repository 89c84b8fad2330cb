"""Faults that a test requests: how a fault is described, and which request it applies to."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from .chance import share
from .wire import Delivery, Reply

PLATFORMS: Final = ("*", "extend", "plextera")
PAGE_KINDS: Final = (
    "repeat_token",
    "token_cycle",
    "empty_page",
    "expired_token",
    "shuffle",
    "duplicate",
)
KINDS: Final = (
    "status", "html", "empty", "error_200", "truncated_json", "bad_json", "short_body", "reset", "reset_mid", "hang", "drip", "latency",
    "html_status", "no_id", "stale", "redirect", "gzip", "gzip_members", "truncated_gzip", "bomb", "coding",
    "large_header", "many_headers", "chunked", "truncated_chunked", *PAGE_KINDS,
)  # fmt: skip


@dataclass(slots=True)
class Fault:
    """A fault for some of the requests.

    `path` is a glob over the path below the mount (`/workflow_runs/*`), `method` a verb or `*`, `platform`
    "extend", "plextera" or `*`. The fault skips the first `after` matching requests, applies to each later
    one with `probability`, and is removed after it has applied to `times` requests (None: never).

    Arguments of single kinds: `status` and `retry_after` (seconds, or "date" for an HTTP date `seconds`
    ahead) belong to kind "status"; `status` also to "html_status", a gateway's HTML with that status; `seconds` to
    hang, latency and drip (per 16 bytes); `location` to redirect; `megabytes` to bomb, a small gzip body that
    expands to that size. Kinds gzip, gzip_members (several members with every optional header, and zeros behind
    them) and chunked are correct replies in another transfer form; so are large_header (64 KB) and many_headers
    (200). Kind coding is a body in a coding, `br`, that the client has not asked for. "no_id" renames the first id
    of a reply. "stale" is a replica that lags: the first reply to a path is served again, whatever has changed
    since.

    Page kinds change the replies of lists: a repeated token, a cycle of tokens, an empty page with a token, a
    token that is reported as expired, rows out of order, the first row twice. On a platform with page numbers
    instead of tokens, a repeated token is the previous page again, a cycle is the first page again, and no
    page expires.
    """

    kind: str
    path: str = "*"
    method: str = "*"
    times: int | None = 1
    probability: float = 1.0
    after: int = 0
    status: int = 500
    retry_after: float | str | None = None
    seconds: float = 1.0
    location: str = "http://elsewhere.invalid/"
    megabytes: int = 64
    platform: str = "*"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known: {', '.join(KINDS)}")
        if self.platform not in PLATFORMS:
            raise ValueError(f"unknown platform {self.platform!r}; known: {', '.join(PLATFORMS)}")

    def matches(self, platform: str, method: str, path: str) -> bool:
        return (
            self.platform in ("*", platform) and self.method in ("*", method) and fnmatchcase(path, self.path)
        )


class Faults:
    """The active faults; the first one that matches applies."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._draws = 0
        self._all: list[Fault] = []
        self._first: dict[tuple[str, str], Reply] = {}
        self.hits: dict[str, int] = {}

    def add(self, fault: Fault) -> None:
        self._all.append(fault)

    def clear(self) -> None:
        self._all.clear()

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._all]

    def take(self, platform: str, method: str, path: str) -> Fault | None:
        """The fault that applies to this request; a fault with no uses left is removed."""
        for fault in self._all:
            if not fault.matches(platform, method, path):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            self._draws += 1
            if share(self._seed, self._draws, 31) >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._all.remove(fault)
            self.hits[fault.kind] = self.hits.get(fault.kind, 0) + 1
            return fault
        return None

    def first_reply(self, platform: str, path: str, reply: Reply) -> Reply:
        """The first reply to a path that a "stale" fault has met."""
        return self._first.setdefault((platform, path), reply)


def retry_headers(fault: Fault) -> tuple[tuple[str, str], ...]:
    if fault.retry_after is None:
        return ()
    if fault.retry_after == "date":
        # the only use of real time: a date in the past, or in the sandbox's own future, would be
        # useless to a client
        return (
            (
                "retry-after",
                format_datetime(datetime.now(UTC) + timedelta(seconds=fault.seconds), usegmt=True),
            ),
        )
    return (
        (
            "retry-after",
            f"{fault.retry_after:g}" if isinstance(fault.retry_after, int | float) else fault.retry_after,
        ),
    )


def bomb(megabytes: int) -> bytes:
    """A gzip body that is a thousand times smaller than its content."""
    packer = zlib.compressobj(1, wbits=31)
    million = b" " * 2**20
    return b"".join([*(packer.compress(million) for _ in range(megabytes)), packer.flush()])


def gzip_members(body: bytes) -> bytes:
    """A legal gzip body (RFC 1952): an empty member, one with FEXTRA, FNAME, FCOMMENT and FHCRC, others, and zeros."""
    half = len(body) // 2
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(body[:half]) + packer.flush()
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x04\x00ext!" + b"page.json\0" + b"a comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    tail = zlib.crc32(body[:half]).to_bytes(4, "little") + half.to_bytes(4, "little")
    pieces = (body[start : start + 1000] for start in range(half, len(body), 1000))
    return gzip.compress(b"") + head + packed + tail + b"".join(map(gzip.compress, pieces)) + bytes(512)


def spoil(fault: Fault, reply: Reply) -> Reply:
    """A correct reply, changed as the fault says."""
    half = max(len(reply.body) // 2, 1)
    match fault.kind:
        case "html" | "html_status":
            return reply._replace(
                status=fault.status if fault.kind == "html_status" else reply.status,
                body=b"<!doctype html><title>Just a moment</title>",
                type="text/html; charset=utf-8",
            )
        case "no_id":
            return reply._replace(body=reply.body.replace(b'"id":', b'"di":', 1))
        case "empty":
            return reply._replace(body=b"")
        case "truncated_json":
            return reply._replace(body=reply.body[:half])
        case "bad_json":
            return reply._replace(body=b'{"object": "list", "data": [NaN,, }')
        case "short_body":
            return reply._replace(delivery=Delivery(cut=half))
        case "reset_mid":
            return reply._replace(delivery=Delivery(cut=half, abort=True))
        case "reset":
            return reply._replace(delivery=Delivery(headless=True, abort=True))
        case "hang":
            return reply._replace(delivery=Delivery(delay=fault.seconds, headless=True))
        case "drip":
            return reply._replace(delivery=Delivery(drip=fault.seconds))
        case "latency":
            return reply._replace(delivery=Delivery(delay=fault.seconds))
        case "gzip" | "truncated_gzip" | "bomb":
            packed = bomb(fault.megabytes) if fault.kind == "bomb" else gzip.compress(reply.body)
            cut = packed[: len(packed) // 2] if fault.kind == "truncated_gzip" else packed
            return reply._replace(body=cut, headers=(*reply.headers, ("content-encoding", "gzip")))
        case "gzip_members":
            packed = gzip_members(reply.body)
            return reply._replace(body=packed, headers=(*reply.headers, ("content-encoding", "gzip")))
        case "coding":
            return reply._replace(headers=(*reply.headers, ("content-encoding", "br")))
        case "large_header":
            return reply._replace(headers=(*reply.headers, ("x-trace", "x" * 2**16)))
        case "many_headers":
            added = ((f"x-trace-{number}", "x") for number in range(200))
            return reply._replace(headers=(*reply.headers, *added))
        case "chunked":
            return reply._replace(delivery=Delivery(chunked=True, piece=1024))
        case "truncated_chunked":
            return reply._replace(delivery=Delivery(chunked=True, piece=1024, cut=half))
        case "redirect":
            return reply._replace(
                status=302, body=b"", headers=(*reply.headers, ("location", fault.location))
            )
    return reply
