"""What must not be kept of an answer: the key that was sent, and URLs that open documents.

    {"message": "no such key: Bearer sk_live_1"}        ->  {"message": "no such key: Bearer ***"}
    https://files.x/scan.pdf?X-Amz-Signature=9f…&p=1    ->  https://files.x/scan.pdf?…

Servers and the gateways before them echo what they are sent. The client replaces the key in each answer as it
arrives, so no table, log, trace or message can hold it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

SHORTEST = 8
"""Characters of the shortest key that is redacted: a shorter one could be an ordinary word."""

# a URL of any scheme from its two slashes on, before and after its question mark. Inside JSON a slash may be \/ and
# & \u0026; inside a JSON text that is itself in JSON these have more backslashes. A path may hold blanks and
# apostrophes, a query a name in quotes. All repetitions are possessive, and a URL without a query is matched too: the
# time stays in proportion to the text.
_ESCAPE = r"\\+(?:/|u[0-9a-fA-F]{4})"
_PATH = rf"(?:[^\"?<>\\\r\n]|{_ESCAPE})*+"
_QUERY = rf"(?:[^\s\"'<>\\]|{_ESCAPE}|'(?=[^\s,;.)\]}}\"])|(?<=;)[ ]|\\*+\"[^\"\\\r\n]*+\\*+\"(?=[&;]))++"
_URL = re.compile(rf"(?<!\\)((?:\\*+/){{2}}{_PATH})(?:\?({_QUERY}))?")
_PARAMETER = r"(?:(?:[a-z0-9]+-)*(?:signature|credential|security-token)|sig|token|access_token|api_?key|key)"
_SIGNED = re.compile(rf"(?i)(?:^|[&;]|\\u0026){_PARAMETER}=")
# a URL within another one
_ENCODED = re.compile(r"(?i)(%2f%2f(?:(?!%3f)[^\s\"'<>&;])*+)(?:%3f([^\s\"'<>&;]*+))?")
_ENCODED_SIGNED = re.compile(rf"(?i)(?:^|%26|%3b){_PARAMETER}%3d")


def make_redactor(key: str) -> Callable[[bytes], bytes]:
    """A function that replaces `key` by *** in a body, however it is written there."""
    if len(key) < SHORTEST or key.isdigit():
        # in a body this is a word or a number like any other
        return lambda body: body
    forms = {key, quote(key, safe=""), quote(key)}
    # in JSON, and in what some server prints or packs into a text of its JSON
    for form in (key, repr(key)[1:-1], _escape(key)):
        forms |= {form, _escape(form), _escape(form).replace("/", r"\/")}
    pattern = re.compile("|".join(sorted(map(re.escape, forms), key=len, reverse=True)).encode())
    plain = key.encode()

    def redact(body: bytes) -> bytes:
        # a search for one text is many times faster than one for a pattern
        if len(forms) == 1 and plain not in body:
            return body
        return pattern.sub(b"***", body)

    return redact


def _escape(text: str) -> str:
    return json.dumps(text)[1:-1]


def strip_signed_urls(text: str) -> str:
    """The text with no URL that carries a signature or a token: such a URL loses its query.

    For rows: other URLs are data and stay to the letter.
    """
    text = _URL.sub(lambda url: f"{url[1]}?…" if url[2] and _SIGNED.search(url[2]) else url[0], text)
    return _ENCODED.sub(
        lambda url: f"{url[1]}%3F…" if url[2] and _ENCODED_SIGNED.search(url[2]) else url[0], text
    )


def strip_url_queries(text: str) -> str:
    """The text whose URLs have all lost their queries.

    For messages and excerpts, where the end of a URL may be cut off, and its signature with it.
    """
    text = _URL.sub(lambda url: f"{url[1]}?…" if url[2] else url[0], text)
    return _ENCODED.sub(lambda url: f"{url[1]}%3F…" if url[2] else url[0], text)


_SECRET_NAMES = (b"signature", b"credential", b"token", b"sig", b"key")


def strip_signed_urls_of_json(body: bytes) -> bytes:
    """`strip_signed_urls` of a whole JSON text, many times faster: only strings with a parameter that may be a
    signature are searched for URLs. UnicodeDecodeError where such a string is not UTF-8."""
    done, parts = 0, list[bytes]()
    # a search for one byte takes a hundredth of the time of any other search
    for at in sorted([*_places(body, b"="), *_places(body, b"%")]):
        is_equals = body[at : at + 1] == b"=" or body[at : at + 3].lower() == b"%3d"
        if at < done or not is_equals or not body[max(done, at - 10) : at].lower().endswith(_SECRET_NAMES):
            continue
        start, end = _quote_before(body, at, done), _quote_after(body, at)
        parts += [body[done:start], strip_signed_urls(body[start:end].decode()).encode()]
        done = end
    return b"".join([*parts, body[done:]]) if parts else body


def _places(body: bytes, sign: bytes) -> Iterator[int]:
    at = body.find(sign)
    while at >= 0:
        yield at
        at = body.find(sign, at + 1)


def _quote_before(body: bytes, at: int, least: int) -> int:
    """Where the JSON string begins that holds `at`."""
    while (at := body.rfind(b'"', least, at)) >= 0:
        if not _is_escaped(body, at):
            return at
    return least


def _quote_after(body: bytes, at: int) -> int:
    """Where the JSON string ends that holds `at`."""
    while (at := body.find(b'"', at)) >= 0:
        if not _is_escaped(body, at):
            return at
        at += 1
    return len(body)


def _is_escaped(body: bytes, at: int) -> bool:
    before = body[max(0, at - 64) : at]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1
