"""What must not be kept of an answer: the key that was sent, and URLs that open somebody's
documents.

    {"message": "no such key: Bearer sk_live_1"}        ->  {"message": "no such key: Bearer ***"}
    https://files.x/scan.pdf?X-Amz-Signature=9f…&p=1    ->  https://files.x/scan.pdf?…

Servers and the gateways before them echo what they are sent. Answers and errors lose the key where
they come in, so no table, log, trace or message can hold it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from ..core.errors import ApiError
from .client import Client
from .messages import ConnectionSettings, Outcome, Reply, Request
from .shared_budget import Budget

SHORTEST = 8
"""Characters of a key that can be told from an ordinary word."""

_URL = re.compile(r"(https?:(?:\\?/){2}[^\s\"'?<>\\]*(?:\\/[^\s\"'?<>\\]*)*)\?([^\s\"'<>]*)")
_SIGNED = re.compile(
    r"(?i)(?:^|[&;]|\\u0026)(?:x-amz-signature|x-amz-credential|x-amz-security-token|"
    r"x-goog-signature|x-goog-credential|signature|sig|token|access_token|api_?key|key)="
)


def make_redactor(key: str) -> Callable[[bytes], bytes]:
    """A function that puts *** in place of `key` in a body, however it is written there."""
    if len(key) < SHORTEST or key.isdigit():
        # in a body this is a word or a number like any other
        return lambda body: body
    forms = {key, quote(key, safe=""), quote(key)}
    # in JSON, and in what some server prints or packs into a text of its JSON
    for form in (key, repr(key)[1:-1], _escaped(key)):
        forms |= {form, _escaped(form), _escaped(form).replace("/", r"\/")}
    found = re.compile("|".join(sorted(map(re.escape, forms), key=len, reverse=True)).encode())
    plain = key.encode()

    def redacted(body: bytes) -> bytes:
        # a search for one text is many times faster than one for a pattern
        if len(forms) == 1 and plain not in body:
            return body
        return found.sub(b"***", body)

    return redacted


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def strip_signed_urls(text: str) -> str:
    """The text with no URL that carries a signature or a token: such a URL loses its query."""
    return _URL.sub(lambda url: f"{url[1]}?…" if _SIGNED.search(url[2]) else url[0], text)


class _Unshown(dict[str, str]):
    """Headers that can be sent and not printed."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, "***"))


class RedactingClient(Client):
    """A client none of whose answers and errors holds the key that it sends."""

    def __init__(
        self,
        settings: ConnectionSettings,
        budget: Budget,
        explain: Callable[[int, Mapping[str, str], bytes, str], ApiError],
        check: Callable[[bytes, str], None],
    ) -> None:
        self._redacted = make_redactor(settings.headers["authorization"].rpartition(" ")[2])

        def discreetly(
            status: int, headers: Mapping[str, str], body: bytes, request: str
        ) -> ApiError:
            said = {name: self._redacted_text(text) for name, text in headers.items()}
            return explain(status, said, self._redacted(body), request)

        hidden = replace(settings, headers=_Unshown(settings.headers))
        super().__init__(hidden, budget, discreetly, check)

    def get(self, request: Request) -> Reply:
        """The answer to one request. ApiError when it is refused or never comes."""
        return self._kept(super().get(request))

    def get_many(
        self, requests: Iterable[Request], ahead: Callable[[], int | None] = lambda: None
    ) -> Iterator[tuple[Request, Outcome]]:
        """Answers in the order of the requests, see `Client`."""
        outcomes: Any = super().get_many(requests, ahead)
        with closing(outcomes):
            for request, outcome in outcomes:
                yield request, self._kept(outcome) if isinstance(outcome, Reply) else outcome

    def _redacted_text(self, text: str) -> str:
        # a header may hold any byte, and comes with what is no UTF-8 as surrogates
        raw = text.encode("utf-8", "surrogateescape")
        return self._redacted(raw).decode("utf-8", "replace")

    def _kept(self, reply: Reply) -> Reply:
        return reply._replace(body=self._redacted(reply.body))
