"""PURE. Whether a value that a platform keeps is the one that was sent, spelt otherwise.

sent              kept                       the same value?
12.50             12.5, "12.5"               yes: the same number
"Harbor & Pine "  "harbor &amp; pine"        yes: but for case, blanks, HTML and Unicode forms
"2026-05-18T08:30:00+02:00"  "2026-05-18T06:30:00.000Z"    yes: the same moment
{"b": 2}          {"a": 1, "b": 2}           yes: merged into the object that was there
"Harbor"          "Pine", null, no key       no
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from html import unescape

from ..core.codec import JSON, Number, number_text, rfc3339, timestamp

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


def is_spelling(sent: JSON, kept: JSON) -> bool:
    """Whether `kept` is `sent`, as a platform may write it."""
    if isinstance(sent, dict):
        return isinstance(kept, dict) and all(
            key in kept and is_spelling(value, kept[key]) for key, value in sent.items()
        )
    if isinstance(sent, list):
        return (
            isinstance(kept, list)
            and all(any(is_spelling(one, other) for other in kept) for one in sent)
            and all(any(is_spelling(one, other) for one in sent) for other in kept)
        )
    if isinstance(kept, dict | list) or (sent is None) != (kept is None):
        return False
    return _plain(sent) == _plain(kept)


def _plain(value: JSON) -> str:
    """A number, text or boolean in one form for all of its spellings."""
    is_text = isinstance(value, str) and not isinstance(value, Number)
    text = str(value) if is_text else number_text(value)
    if _JSON_NUMBER.fullmatch(text):
        try:
            # a platform may hold numbers as doubles
            return repr(float(Decimal(text)))
        except (ArithmeticError, ValueError):
            return text
    text = " ".join(unicodedata.normalize("NFKC", unescape(text)).split())
    moment = timestamp(text) if is_text else None
    return text.casefold() if moment is None else rfc3339(moment)
