"""Answers that no platform should send, each with its outcome: rows, or a reason in quarantine."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Poison(NamedTuple):
    """A run's answer; `reason` is part of the message in quarantine, None when the run loads in full."""

    name: str
    body: bytes
    reason: str | None = None
    id: str | None = None

    @property
    def run_id(self) -> str:
        """The id under which the run is listed."""
        return self.name if self.id is None else self.id


def nested(levels: int, shape: str = "[%s]", inner: str = "1") -> str:
    """JSON text with that many levels of nesting."""
    before, after = shape.split("%s")
    return before * levels + inner + after * levels


HOSTILE_KEYS = [
    "select", "DROP TABLE fields; --", "values", "order", "_dlt_id", "", " ", ".", "..", "a.b", "[0]", "a[0]",
    "]", "[", '"', "'", "\\", '["x"]', '\\"', "/", "../x", "$", "%s", "{}", "\t", "\n", "\x00", "\x7f", "K" * 300,
    "Name", "name", "NAME", "\u00e9", "e\u0301", "\u212b", "\u00c5", "\ufb01", "fi", "\u202e", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "lines", "lines[0]", "lines[0].sku", 'lines["sku"]', "value", "metadata", "null", "true", "0", "-1", "__proto__",
]  # fmt: skip
"""Field names that may break something on the way to a table; all of them are in one object."""


def _odd_values() -> dict[str, str]:
    """Values by name, as JSON text; all of them are loaded unchanged."""
    return {
        "infinite": "1e999",
        "minus infinite": "-1E+999",
        "2**64": str(2**64),
        "400 digits": "9" * 400,
        "400 digits and a fraction": "9" * 400 + ".25",
        "nul": r'"a\u0000b"',
        "lone surrogate": r'"a\ud800b"',
        "lone surrogate key": r'{"\udfff": 1, "\\udffe": 2}',
        "pair": r'"\ud83d\ude00"',
        "sql": '"\'; DROP TABLE fields; --"',
        "empty containers": '{"a": [], "b": {}, "c": [[]], "d": [{}]}',
        "hostile keys": json.dumps({key: i for i, key in enumerate(HOSTILE_KEYS)}),
        "hostile objects": json.dumps({key: {key: [{key: 1}]} for key in HOSTILE_KEYS}),
        "100 levels": nested(100, '{"a":%s}'),
        "300 levels": nested(300, '{"a":%s}'),
        "300 lists": nested(300),
        "dates": json.dumps(["0000-01-01", "9999-12-31", "2026-02-30", "2026-02-09T24:00:00Z"]),
    }


def _outputs() -> dict[str, str]:
    """Outputs of an extraction, as JSON text; all of them are loaded."""
    shapes = ["[]", "{}", "0", '"x"', "true", "1e999", '[{"id":"a"}]', '{"a":{"b":[1]}}', "[null]"]
    found = {f"output {shape}": shape for shape in shapes}
    found |= {f"value {shape}": f'{{"value":{shape},"metadata":{{}}}}' for shape in shapes}
    found |= {f"metadata {shape}": f'{{"value":{{"a":1}},"metadata":{shape}}}' for shape in shapes}
    for part in ("citations", "insights", "ocrConfidence", "reviewAgentScore"):
        for shape in ("{}", '"x"', "[1]", "[[{}]]", "1e999", str(2**64)):
            said = f'{{"a":{{"{part}":{shape}}}}}'
            found[f"{part} {shape}"] = f'{{"value":{{"a":1}},"metadata":{said}}}'
    for path in (
        "a[99999999999999999999]",
        "a[" + "9" * 5000 + "]",
        "]",
        "",
        "\u0663",
        "a[\u0663]",
    ):
        said = json.dumps({path: {"ocrConfidence": 0.5}})
        found[f"said of {path[:30]!r}"] = f'{{"value":{{"a":[1]}},"metadata":{said}}}'
    found |= {name: f'{{"value":{{"v":{text}}}}}' for name, text in _odd_values().items()}
    return found


REFUSED_OUTPUTS = {
    "a value twice": ('{"value":{"a":1,"a":2}}', "the key 'a' comes twice, with two values"),
    "5,000 digits": ('{"value":{"a":' + "9" * 5000 + "}}", "out of range"),
    "key of a table of ten gigabytes": (
        json.dumps({"value": {"k" * 200_000: [0] * 50_000}}),
        "too many fields",
    ),
}
"""Outputs that cannot become rows, with the reason."""

# bodies sent in place of the run, with the reason; {id} is the run's own id
_ANSWERS: dict[str, tuple[bytes, str]] = {
    "html": (b"<!doctype html><title>Just a moment</title>", "not JSON"),
    "nothing": (b"", "not JSON"),
    "blanks": (b" \n", "not JSON"),
    "cut off": (b'{"id": "{id}", "status": "PROC', "not JSON"),
    "two objects": (b'{"id": "{id}"}{"id": "{id}"}', "not JSON"),
    "nan": (b'{"id": "{id}", "x": NaN}', "not JSON"),
    "infinity": (b'{"id": "{id}", "x": -Infinity}', "not JSON"),
    "raw nul": (b'{"id": "{id}", "x": "\0"}', "not JSON"),
    "utf-16": (b'\xff\xfe{\0"\0i\0d\0"\0:\0001\0}\0', "not JSON"),
    "list": (b'[{"id": "{id}"}]', "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "number": (b"1e999", "not a JSON object"),
    "text": (b'"{id}"', "not a JSON object"),
    "empty object": (b"{}", "the answer has no id"),
    "null id": (b'{"id": null}', "the answer has no id"),
    "number as id": (b'{"id": 7, "status": "PROCESSED"}', "the answer has no id"),
    "list as id": (b'{"id": ["{id}"]}', "the answer has no id"),
    "empty id": (b'{"id": ""}', "another"),
    "another id": (b'{"id": "{id} "}', "another"),
    "error": (b'{"error": {"code": "NOT_FOUND"}}', "an error with status 200"),
    "two ids": (b'{"id": "x", "id": "{id}"}', "the key 'id' comes twice"),
    "latin-1": ('{"id": "{id}", "x": "\xe9"}'.encode("latin-1"), "utf-8"),
    "latin-1 key": ('{"id": "{id}", "\xe9": 1}'.encode("latin-1"), "utf-8"),
    "surrogate bytes": (b'{"id": "{id}", "x": "\xed\xa0\x80"}', "utf-8"),
    "1,000 levels": (('{"id": "{id}", "x": ' + nested(1000) + "}").encode(), "nested too deeply"),
    "100,000 levels": (nested(100_000, '{"a":%s}').encode(), "nested too deeply"),
}


def _answers() -> list[Poison]:
    return [
        Poison(name, body.replace(b"{id}", name.encode()), reason)
        for name, (body, reason) in _ANSWERS.items()
    ]


def extend_runs() -> list[Poison]:
    """Extract runs of Extend."""
    start = '{{"object":"extract_run","id":{id},"status":"PROCESSED","config":{{}},{rest}}}'

    def run(name: str, rest: str, reason: str | None = None, id_: str | None = None) -> Poison:
        text = start.format(id=json.dumps(name if id_ is None else id_), rest=rest)
        return Poison(name, text.encode(), reason, id_)

    found = _answers()
    found += [run(name, f'"output":{text}') for name, text in _outputs().items()]
    found += [run(name, f'"output":{o}', why) for name, (o, why) in REFUSED_OUTPUTS.items()]
    parts = (
        "extractor", "extractorVersion", "usage", "file", "files", "metadata", "config2", "createdAt", "edited",
        "reviewed", "initialOutput", "reviewedOutput", "edits", "failureReason", "batchId", "type", "unknown",
    )  # fmt: skip
    for part in parts:
        for shape in ("[]", "{}", '"x"', "1e999", "true", '[1,"x",{}]', '{"id":{"id":[1]}}'):
            found.append(run(f"run: {part} {shape}", f'"output":{{}},"{part}":{shape}'))
    found += [
        Poison("bom", b"\xef\xbb\xbf" + run("bom", '"output":{"value":{"a":1}}').body),
        Poison("blanks before", b" " * 100 + run("blanks before", '"output":{}').body),
        run("900 levels in config", f'"output":{{}},"schema":{nested(500)}'),
        run("escapes", r'"\u006futput":{"value":{"\u0061":1}}'),
        run("10 MB text", '"output":{"value":{"a":"' + "x" * 10_000_000 + '"}}'),
        run("10 MB key", '"output":{"value":{"' + "x" * 10_000_000 + '":1}}'),
        run("50,000 fields", '"output":' + json.dumps({"value": {f"f{i}": i for i in range(50_000)}})),
        run("slashes", '"output":{}', id_="../x/a?b=c#d&e%2Ff"),
        run("spaces", '"output":{}', id_=" \t é \n "),
        run("long id", '"output":{}', id_="i" * 2000),
        run("quotes", '"output":{}', id_="'\"`;--\\"),
        run("nul id", '"output":{}', id_="a\0b"),
        run("composed", '"output":{}', id_="r\u00e9"),
        run("decomposed", '"output":{}', id_="re\u0301"),
        run("upper", '"output":{}', id_="CASE"),
        run("lower", '"output":{}', id_="case"),
        Poison("lone id", run("", '"output":{}', id_="X").body.replace(b'"X"', b'"\\ud800"'), None, "\\ud800"),
    ]  # fmt: skip
    return found


def plextera_extractions() -> list[Poison]:
    """Extractions of Plextera."""

    def run(name: str, rest: str, reason: str | None = None) -> Poison:
        text = f'{{"id":{json.dumps(name)},"status":"COMPLETED",{rest}}}'
        return Poison(name, text.encode(), reason)

    found = _answers()
    for part in ("output", "tags", "document", "error", "createdAt", "workflow", "unknown"):
        for shape in ("[]", "{}", '"x"', "1e999", "true", '[1,"x",{}]', '{"fields":{"a":1}}'):
            found.append(run(f"run: {part} {shape}", f'"{part}":{shape}'))
    fields = ["[]", "{}", '"x"', "7", "null", '[{"name":{}}]', "[[1]]", '[{"value":[{"value":1}]}]']
    for key in ("value", "confidence", "placements", "type", "name", "fields", "rows"):
        fields += [
            f'[{{"name":"a","value":1,"{key}":{shape}}}]'
            for shape in ("[]", "{}", '"x"', "1e999", str(2**64), '[[],{"x":"y"}]')
        ]
    fields += [json.dumps([{"name": key, "value": {key: 1}} for key in HOSTILE_KEYS])]
    fields += [f'[{{"name":"a","value":{text}}}]' for text in _odd_values().values()]
    found += [run(f"fields {i}", f'"output":{{"fields":{text}}}') for i, text in enumerate(fields)]
    long = json.dumps({"fields": [{"name": "k" * 200_000, "value": [0] * 50_000}]})
    found += [
        run("long name", f'"output":{long}', "too many fields"),
        run("10 MB text", '"output":{"fields":[{"name":"a","value":"' + "x" * 10_000_000 + '"}]}'),
    ]
    return found


def rows_of_a_list(ids: list[str], changed: list[str]) -> list[dict[str, Any]]:
    """Rows as a list returns them, in the given order."""
    return [
        {"id": id_, "status": "PROCESSED", "createdAt": at, "updatedAt": at}
        for id_, at in zip(ids, changed, strict=True)
    ]
