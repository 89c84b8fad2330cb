from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from docruns.core.codec import (
    Number,
    clean,
    decode,
    decode_like,
    decode_whole,
    encode,
    json_text,
    number_text,
    timestamp,
    without_secrets,
)
from docruns.core.errors import ShapeError
from docruns.core.payload import Payload


def payload(**cells: Any) -> Payload:
    return Payload(json.dumps(cells).encode())


def rest(of: Payload) -> Any:
    return json.loads(of.extra() or "null")


# each reader with what it takes, what it reads as null, and what it leaves in extra
READERS: list[tuple[str, str, Any]] = [
    ("text", '"x"', "x"),
    ("text", '""', ""),
    ("label", '"2.1"', "2.1"),
    ("label", "2", "2"),
    ("label", "2.10", "2.10"),
    ("number", "1", 1.0),
    ("number", "0.5", 0.5),
    ("integer", "3", 3),
    ("integer", "3.0", 3),
    ("integer", "9223372036854775807", 2**63 - 1),
    ("integer", "-9223372036854775808", -(2**63)),
    ("boolean", "true", True),
    ("boolean", "false", False),
    ("time", '"2026-02-09T01:02:03.004Z"', datetime(2026, 2, 9, 1, 2, 3, 4000, UTC)),
    ("json", '{"a": 1.50}', '{"a": 1.50}'),
]
REFUSED = [
    ("text", "1"),
    ("text", "{}"),
    ("label", "true"),
    ("label", "[]"),
    ("number", '"1"'),
    ("number", "true"),
    ("number", "1e400"),
    ("integer", "1.5"),
    ("integer", "9223372036854775808"),
    ("integer", "-9223372036854775809"),
    ("integer", "1e19"),
    ("integer", "1e400"),
    ("integer", '"1"'),
    ("boolean", "1"),
    ("boolean", '"true"'),
    ("time", '"soon"'),
    ("time", '"2026-02-30T00:00:00Z"'),
    ("time", "1770000000"),
    ("object", "[]"),
    ("object", '"x"'),
    ("objects", "{}"),
    ("objects", "[1]"),
    ("objects", '[{}, "x"]'),
]


@pytest.mark.parametrize(("method", "literal", "expected"), READERS)
def test_a_key_of_the_expected_type_is_taken(method: str, literal: str, expected: Any) -> None:
    """A key that was read is no longer in extra."""
    one = Payload(f'{{"k": {literal}}}'.encode())
    found = getattr(one, method)("k")
    assert (found, type(found)) == (expected, type(expected))
    assert one.extra() is None
    assert getattr(one, method)("k") is None


@pytest.mark.parametrize(("method", "literal"), REFUSED)
def test_a_key_of_another_type_is_left_for_extra(method: str, literal: str) -> None:
    """A value of another type gives None, and extra keeps its text."""
    one = Payload(f'{{"k": {literal}}}'.encode())
    assert getattr(one, method)("k") is None
    assert one.extra() == f'{{"k":{literal}}}'


@pytest.mark.parametrize("method", sorted({name for name, *_ in READERS} | {"object", "objects", "raw"}))
def test_null_and_a_missing_key_say_nothing(method: str) -> None:
    """A missing key and null both give None and leave nothing in extra."""
    one = Payload(b'{"k": null}')
    assert getattr(one, method)("k") is None
    assert getattr(one, method)("missing") is None
    assert one.extra() is None


def test_the_first_of_several_keys_wins_and_the_others_stay() -> None:
    """Where two names of one value both come, the first is read and the other stays in extra."""
    one = payload(a=None, b="x", c="y")
    assert one.text("a", "b", "c") == "x"
    assert rest(one) == {"c": "y"}
    times = payload(a="soon", b="2026-01-01T00:00:00Z")
    assert times.time("a", "b") == datetime(2026, 1, 1, tzinfo=UTC)
    assert rest(times) == {"a": "soon"}


def test_what_is_not_taken_from_an_inner_object_stays_under_its_key() -> None:
    """extra keeps unread keys at any depth; an inner object that was read completely leaves nothing."""
    one = payload(a={"b": {"c": 1, "d": 2}, "e": "x"}, f={"g": 1})
    a, f = one.object("a"), one.object("f")
    assert a is not None and f is not None
    b = a.object("b")
    assert b is not None
    assert (b.integer("c"), f.integer("g")) == (1, 1)
    assert rest(one) == {"a": {"e": "x", "b": {"d": 2}}}


def test_a_list_of_objects_skips_nulls() -> None:
    """Each object is read on its own."""
    found = payload(k=[{"a": 1}, None, {"a": 2}]).objects("k")
    assert [one.integer("a") for one in found or []] == [1, 2]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('[{"a":1},null,{"b":2}]', [{"a": 1}, {"b": 2}]),
        ('[{}, {"a" : 1}]', [{}, {"a": 1}]),
        ('[{"a":1,"a":1}]', [{"a": 1}]),
        ("[]", []),
        ('[{"a":1,"a":2}]', None),
        ('[{"a":1},2]', None),
        ("null", None),
    ],
)
def test_a_list_s_objects_are_whole_or_left_alone(text: str, kept: Any) -> None:
    """A list of objects is read whatever its blanks; an object with two values for a key leaves the whole list in extra."""
    one = Payload(f'{{"list":{text}}}'.encode())
    found = one.objects("list")
    assert (found if found is None else [rest(of) or {} for of in found]) == kept
    assert ("list" in one) == (kept is None and text != "null")


@pytest.mark.parametrize(
    "text",
    [
        '{"run":{"id":"r","x":[1]}}',
        '{"run":{}}',
        '{"run":{"id":"r"} }',
        '{"run":{"id":"r"},"more":{"y":1}}',
        '{"run":{"id":"r"},"more":1}',
        '{"run":{"id":"r","id":"s"}}',
        '{"run" : {"id":"r"}}',
        '{"run":[{"id":"r"}]}',
        '{"other":{"id":"r"}}',
    ],
)
def test_an_object_around_another_reads_like_any(text: str) -> None:
    """The short cut for a single inner object gives the same result as the usual way."""
    read = []
    for around in ((), ("thing", "run")):
        whole = Payload(f'{{"result":{text}}}'.encode())
        result = whole.object("result", around)
        assert result is not None
        run = result.object("run")
        assert result.object("run") is run
        read.append((run and run.text("id"), rest(whole)))
    assert read[0] == read[1]


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.5, 2.0, "", "a", 2**70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(trees, trees)
def test_a_value_shares_what_it_has_in_common_with_another(a: Any, b: Any) -> None:
    """decode_like gives the same value as decode_whole, and shares the parts with equal text."""
    first, second = (
        json.dumps({"same": a, "list": [a, b], "shifted": [0, a, b]}),
        json.dumps({"same": a, "list": [b, b, a], "shifted": [a, b]}),
    )
    raws = Raw(first.encode()), Raw(second.encode())
    known = decode_whole(raws[0])
    like = decode_like(raws[1], raws[0], known)
    assert repr(like) == repr(decode_whole(raws[1]))
    assert like["same"] is known["same"]
    assert like["list"][1] is known["list"][1]
    assert all(any(one is other for other in known["shifted"]) for one in like["shifted"])
    with pytest.raises(ShapeError, match="comes twice"):
        decode_like(Raw(b'{"a":{"b":1,"b":2}}'), Raw(b'{"a":{"b":2}}'), {"a": {"b": 2}})


def test_extra_keeps_the_text_that_came() -> None:
    """JSON text keeps digits, escapes and the order of keys."""
    one = Payload(rb'{"a": 0.10, "b": "\u00e9\/", "c": {"z": 1E5, "a": -0.0}, "d": 1e400}')
    assert one.extra() == r'{"a":0.10,"b":"\u00e9\/","c":{"z": 1E5, "a": -0.0},"d":1e400}'


def test_keys_can_be_dropped_kept_and_looked_at() -> None:
    """ignore and ignore_empty drop only what adds nothing, keep adds to extra, peek leaves the key in place."""
    one = payload(object="run", id="x", edits={}, merged=[], none=None, full=[1], more="y")
    one.ignore("object", "absent")
    one.ignore_empty("edits", "merged", "none", "full", "absent")
    assert (one.peek("id"), one.peek("full"), one.peek("absent")) == ("x", None, None)
    one.keep("id", '"z"')
    assert [key for key in ("object", "id", "edits", "full", "more") if key in one] == [
        "id",
        "full",
        "more",
    ]
    assert rest(one) == {"id": "z", "full": [1], "more": "y"}
    one.clear()
    assert one.extra() is None


@pytest.mark.parametrize(
    ("literal", "stays"),
    [('"run"', False), ("null", False), ("7", True), ("[]", True), ("{}", True)],
)
def test_what_says_nothing_new_is_a_text(literal: str, stays: bool) -> None:
    """ignore keeps a value of an unexpected type."""
    one = Payload(f'{{"object": {literal}}}'.encode())
    one.ignore("object", "absent")
    assert ("object" in one) is stays
    other = Payload(b'{"by": {"id": 1}, "at": "x"}')
    other.ignore("by", "at", kind=b"{")
    assert rest(other) == {"at": "x"}


def test_what_must_not_be_kept_is_dropped_whatever_it_holds() -> None:
    """A presigned URL is dropped whatever its type."""
    one = payload(contents=[{"x": 1}], other=1)
    one.drop("contents", "absent")
    assert rest(one) == {"other": 1}


def test_a_cleared_payload_forgets_its_children() -> None:
    """clear drops every key of an object that has become a row of its own."""
    one = payload(a={"b": 1})
    one.object("a")
    one.clear()
    assert one.extra() is None


@pytest.mark.parametrize("key", ["presignedUrl", "outputUrl", "fileUrl", "signedUrl"])
def test_extra_holds_no_key_to_a_document(key: str) -> None:
    """extra holds no presigned URL at any depth; everything else stays, with its digits."""
    secret = {key: "https://files.invalid/?sig=SECRET", "n": 1}
    one = payload(**secret, list=[{"deep": secret}], inner={"deep": secret})
    one.object("inner")
    assert rest(one) == {"n": 1, "list": [{"deep": {"n": 1}}], "inner": {"deep": {"n": 1}}}
    digits = Payload(f'{{"a": [{{"{key}": 1, "n": 0.10}}]}}'.encode())
    assert digits.extra() == '{"a":[{"n":0.10}]}'


def test_secrets_are_taken_out_at_any_depth() -> None:
    """A file's contents are removed; a customer's own key `contents` stays."""
    file = {"object": "file", "id": "f", "contents": {"rawText": "x"}}
    value = {"a": [{"presignedUrl": "x", "b": [1, file]}], "c": {"contents": 2}}
    assert without_secrets(value) == {
        "a": [{"b": [1, {"object": "file", "id": "f"}]}],
        "c": {"contents": 2},
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"<html>",
        b'{"a": 1',
        b'{"a": }',
        b"[" * 5000,
        b'{"a":' * 5000,
    ],
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """An answer that is no JSON object is a ShapeError, however it is broken."""
    with pytest.raises(ShapeError):
        Payload(body)


def test_text_that_is_not_utf8_is_refused() -> None:
    """Text that is not UTF-8 is refused at any place, because no table could hold it."""
    one = Payload(b'{"a": "\xff", "b": 1}')
    assert one.text("a") is None
    with pytest.raises(ShapeError, match="UTF-8"):
        one.extra()
    with pytest.raises(ShapeError, match="UTF-8"):
        one.json("a")
    with pytest.raises(ShapeError, match="UTF-8"):
        json_text(Raw(b'"\xff"'))


# lone surrogates


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'"\ud800"', "\\ud800"),
        (rb'"\uDFFF!"', "\\uDFFF!"),
        (rb'"a\ud83d\ude00b"', "a\N{GRINNING FACE}b"),
        (rb'"\ud83d\ud83d\ude00"', "\\ud83d\N{GRINNING FACE}"),
        (rb'"\ude00\ud83d"', "\\ude00\\ud83d"),
        (rb'"\\ud800"', "\\ud800"),
        (rb'"\\\ud800"', "\\\\ud800"),
        (rb'"\\\\ud800"', "\\\\ud800"),
        (rb'"\n\ud800\u0041"', "\n\\ud800A"),
        (rb'"\u0000"', "\0"),
        (rb'"\uD83D\uDE00\uD83D"', "\N{GRINNING FACE}\\uD83D"),
    ],
)
def test_a_lone_surrogate_becomes_its_six_characters(body: bytes, expected: str) -> None:
    """A lone surrogate becomes text; a pair, an escaped backslash and a NUL stay as they are."""
    assert decode(clean(body)) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        st.characters(codec=None) | st.characters(categories=["Cs"]) | st.sampled_from('\\"u'),
        max_size=8,
    )
)
def test_cleaned_text_is_what_came_but_for_lone_surrogates(text: str) -> None:
    """clean agrees with a second implementation for pairs, lone surrogates and all other text."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    expected = "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in joined)
    assert decode(clean(json.dumps(text).encode())) == expected


def test_a_byte_order_mark_goes() -> None:
    """A byte order mark before the JSON is removed."""
    assert clean(b'\xef\xbb\xbf{"a": 1}') == b'{"a": 1}'


def test_many_backslashes_cost_no_memory() -> None:
    """Cleaning ten megabytes takes little more memory than the text itself."""
    body = b'"' + b"\\\\" * 5_000_000 + b'\\ud800"'
    tracemalloc.start()
    cleaned = clean(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cleaned == body.replace(b"\\ud800", b"\\\\ud800")
    assert peak < 5 * len(body)


def test_a_body_without_surrogates_is_not_copied() -> None:
    """A body without lone surrogates is returned as it is, without a copy."""
    body = json.dumps({"a": "x" * 100}).encode()
    assert clean(body) is body


# numbers and times


@pytest.mark.parametrize(
    "literal",
    ["0", "-1", "0.10", "1E5", "1e400", "-0.0", "12345678901234567890", "1" + "0" * 400, "1.0e+02"],
)
def test_a_number_is_written_as_it_came(literal: str) -> None:
    """Decoding and encoding keep every digit at any depth."""
    assert number_text(decode(literal.encode())) == literal
    text = f'{{"a":[{literal},{{"b":{literal}}}]}}'
    assert number_text(decode(text.encode())) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_any_json_survives_decoding_and_writing(value: Any) -> None:
    """number_text(decode(x)) is x."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    written = number_text(decode(text.encode()))
    assert json.dumps(json.loads(written)) == json.dumps(value)


def test_a_number_is_no_text() -> None:
    """A number that is kept as text is still encoded as a number."""
    assert number_text(decode(b'[1.5, "1.5"]')) == '[1.5,"1.5"]'
    assert type(decode(b"1.5")) is Number
    assert encode("é") == '"é"'.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-09T01:02:03Z", datetime(2026, 2, 9, 1, 2, 3, tzinfo=UTC)),
        ("2026-02-09T01:02:03.5Z", datetime(2026, 2, 9, 1, 2, 3, 500000, UTC)),
        ("2026-02-09T01:02:03.123456Z", datetime(2026, 2, 9, 1, 2, 3, 123456, UTC)),
        ("2026-02-09T01:02:03.123456789Z", datetime(2026, 2, 9, 1, 2, 3, 123456, UTC)),
        ("2026-02-09T03:02:03+02:00", datetime(2026, 2, 9, 1, 2, 3, tzinfo=UTC)),
        ("2026-02-09T01:02:03", datetime(2026, 2, 9, 1, 2, 3, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-06-30T23:59:60Z", None),
        ("2026-02-09T01:02:03Z\0", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("9999-12-31T23:59:59-10:00", None),
    ],
)
def test_a_timestamp_is_read_as_utc(text: str, expected: datetime | None) -> None:
    """A timestamp has any offset, or none for UTC; a time that no table can hold gives None."""
    found = timestamp(text)
    assert found == expected
    assert found is None or found.tzinfo is UTC


@settings(max_examples=200, deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
def test_a_timestamp_keeps_its_microseconds(at: datetime) -> None:
    """timestamp reads what isoformat writes as the same time."""
    assert timestamp(at.isoformat().replace("+00:00", "Z")) == at
