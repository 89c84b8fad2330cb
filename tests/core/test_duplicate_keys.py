"""Keys that come twice: nothing is lost without a word, and nothing harmless is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from docruns.core.codec import decode_whole, members
from docruns.core.errors import ShapeError
from docruns.core.flatten.flatten import rebuild
from docruns.core.payload import Payload
from docruns.core.tables import FIELDS, PROCESSOR_RUNS, WORKFLOW_RUNS, WORKFLOW_STEPS
from docruns.providers.extend import workflow_runs
from docruns.providers.extend.shapes import field_metadata
from docruns.providers.plextera import runs as plextera
from docruns.sync.plan import ListedRun

CONTEXT = workflow_runs.Context("2026-02-09")


class Pairs(list[tuple[str, Any]]):
    """The members of an object in the order in which they are written."""


def written(value: Any, style: tuple[str, str], escape: bool) -> str:
    """JSON text of objects as pairs; `style` is what stands after a comma and around a colon."""
    comma, colon = style
    if isinstance(value, Pairs):
        inner = [written(k, style, escape) + colon + written(v, style, escape) for k, v in value]
        return "{" + comma.join(inner) + "}"
    if isinstance(value, list):
        return "[" + comma.join(written(v, style, escape) for v in value) + "]"
    text = json.dumps(value, ensure_ascii=False)
    return text.replace(":", "\\u003a") if escape and isinstance(value, str) else text


def loses(value: Any) -> bool:
    """Some object has a key twice, with two values."""
    if isinstance(value, Pairs):
        texts = [(key, written(inner, (",", ":"), False)) for key, inner in value]
        return len(set(texts)) > len(dict(texts)) or any(loses(inner) for _, inner in value)
    return isinstance(value, list) and any(map(loses, value))


STYLES = st.sampled_from([(",", ":"), (", ", ": "), (",\n ", " : "), (" ,", "\t:")])
KEYS = st.sampled_from(["a", "b", "c:d", ":null", "é", 'x":', ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 2**70, ":", "a:null", '"a":1', "\\u003a", ""])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(Pairs),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(VALUES, STYLES, st.booleans())
def test_a_value_is_refused_if_and_only_if_it_would_lose_one(
    value: Any, style: tuple[str, str], escape: bool
) -> None:
    """The check finds a key that comes twice in any JSON, whatever its keys, texts and blanks."""
    text = written(value, style, escape).encode()
    if loses(value):
        with pytest.raises(ShapeError, match="comes twice"):
            decode_whole(text)
    else:
        assert decode_whole(text) == decode_whole(Raw(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=5).map(Pairs), STYLES, st.booleans())
def test_an_object_is_refused_for_its_own_members_only(
    value: Pairs, style: tuple[str, str], escape: bool
) -> None:
    """An inner object is checked when it is read; an unread one stays text."""
    text = written(value, style, escape).encode()
    last = {key: written(inner, style, escape) for key, inner in value}
    if any(last[key] != written(inner, style, escape) for key, inner in value):
        with pytest.raises(ShapeError, match="comes twice"):
            members(text)
    else:
        assert {k: bytes(v).decode() for k, v in members(text).items()} == last
    glance = Payload(text, glance=True)
    assert all(key in glance for key in last)


ENTRY = st.lists(
    st.tuples(
        st.sampled_from(["ocrConfidence", "logprobsConfidence", "confidence"]),
        st.none() | st.sampled_from([0.25, 0.5]),
    )
    | st.tuples(
        st.just("insights"),
        st.lists(
            st.lists(
                st.tuples(
                    st.sampled_from(["type", "content"]),
                    st.sampled_from([None, "a", "b: c", '":null', ": null"]),
                ),
                max_size=3,
            ).map(Pairs),
            max_size=2,
        ),
    )
    | st.tuples(
        st.just("citations"),
        st.lists(
            st.lists(
                st.tuples(
                    st.sampled_from(["page", "pageWidth", "polygon"]),
                    st.sampled_from([None, 1, 2]),
                ),
                max_size=3,
            ).map(Pairs),
            max_size=2,
        ),
    ),
    max_size=4,
).map(Pairs)


def without_nulls(value: Any) -> Any:
    """A null says nothing of a path: one that is overwritten is no loss."""
    if isinstance(value, Pairs):
        return Pairs((key, without_nulls(inner)) for key, inner in value if inner is not None)
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(KEYS, ENTRY), max_size=3).map(Pairs), STYLES, st.booleans())
def test_what_is_said_of_paths_is_not_overwritten(value: Pairs, style: tuple[str, str], escape: bool) -> None:
    """The check also covers scores, insights and citations, which are decoded into structs."""
    text = Raw(written(value, style, escape).encode())
    try:
        found = field_metadata.metadata(text)
    except ShapeError:
        assert loses(value)
        return
    if loses(without_nulls(value)):
        # read key by key: what cannot be told apart is kept as it came
        assert any(entry.extra for entry in found.values())


def test_the_key_and_its_path_are_named() -> None:
    """The message in quarantine names the key to look for."""
    with pytest.raises(ShapeError, match=r"the key 'sku' comes twice in lines\.1, with two values"):
        decode_whole(b'{"lines": [{}, {"sku": 1, "sku": 2}]}')


def extract_run(output: str, more: str = "") -> workflow_runs.Reading:
    """A run read alone."""
    body = f'{{"object":"extract_run","id":"exr_1","status":"PROCESSED","output":{output}{more}}}'
    return workflow_runs.processor_run(body.encode(), ListedRun("exr_1", None, None, None), CONTEXT)


@pytest.mark.parametrize(
    ("output", "more", "reason"),
    [
        ('{"value":{"a":1,"a":2}}', "", "run exr_1: output: the key 'a' comes twice, with"),
        ('{"value":{"a":[{"b":1,"b":2}]}}', "", "'b' comes twice in a.0"),
        ('{"value":{},"value":{"a":1}}', "", "output: the key 'value' comes twice"),
        ('{"value":{},"metadata":{"a":{"ocrConfidence":1},"a":{}}}', "", "'a' comes twice"),
        (
            '{"value":{},"metadata":{"a":{"ocrConfidence":1,"ocrConfidence":0.5}}}',
            "",
            "'ocrConfidence' comes twice in a, with",
        ),
        ('{"t":{"id":"f","type":"string","value":1,"value":2}}', "", "'value' comes twice"),
        ('{"t":{"id":"f","type":"string","value":{"a":1,"a":2}}}', "", "'a' comes twice"),
        ("{}", ',"status":"FAILED"', "the key 'status' comes twice"),
        ("{}", ',"note":1,"note":2', "the key 'note' comes twice"),
        ('{"value":{}}', ',"edits":{"a":{"notes":"x"},"a":null}', "'a' comes twice"),
    ],
)
def test_a_run_that_would_lose_a_value_is_refused(output: str, more: str, reason: str) -> None:
    """A run goes to quarantine, with the key's name, where a value would be lost."""
    with pytest.raises(ShapeError) as caught:
        extract_run(output, more)
    assert reason in caught.value.message


def test_equal_values_are_no_loss() -> None:
    """A key that comes twice with one value is read like one that comes once."""
    reading = extract_run('{"value":{"a":1.50,"a":1.50},"metadata":{}}', ',"note":1,"note":1')
    [row] = reading.batch.dicts(FIELDS)
    assert row["value_json"] == "1.50"
    [run] = reading.batch.dicts(PROCESSOR_RUNS)
    assert json.loads(run["extra"]) == {"note": 1}


def test_objects_that_are_kept_as_they_came_keep_both() -> None:
    """A part without a column stays in extra with both values."""
    part = '{"id":"ex_1","id":"ex_2"}'
    [run] = extract_run('{"value":{}}', f',"extractor":{part},"config":{part}').batch.dicts(PROCESSOR_RUNS)
    assert run["extra"] == f'{{"extractor":{part}}}'
    assert run["config"] == part


def test_a_nested_run_with_a_key_twice_stays_in_its_step() -> None:
    """The workflow run loads even if one of its parts is refused."""
    nested = '{"id":"exr_1","status":"PROCESSED","status":"FAILED"}'
    body = f'{{"id":"w","stepRuns":[{{"result":{{"extractRun":{nested}}}}}]}}'
    reading = workflow_runs.workflow_run(body.encode(), ListedRun("w", None, None, None), CONTEXT)
    [step] = reading.batch.dicts(WORKFLOW_STEPS)
    assert step["output"] == f'{{"extractRun":{nested}}}'
    assert reading.batch.dicts(PROCESSOR_RUNS) == []


def test_plextera_keeps_each_field_as_it_came() -> None:
    """The last value counts; the field's own JSON text keeps both."""
    field = '{"name":"total","value":1,"value":2}'
    body = f'{{"id":"e","status":"COMPLETED","output":{{"fields":[{field}]}}}}'
    reading = plextera.extraction(body.encode(), ListedRun("e", None, None, None), plextera.Context())
    [row] = reading.batch.dicts(FIELDS)
    assert (row["value"], row["extra"]) == ("2", f'{{"element":{field}}}')
    assert rebuild([(row["path"], row["value_json"])]) == {"total": 2}


def test_plextera_refuses_a_run_that_would_lose_a_value() -> None:
    """Only the run's own keys are checked; a step or a nested run with a key twice is kept as it came."""
    listed = ListedRun("r", None, None, None)
    with pytest.raises(ShapeError, match="'status' comes twice"):
        plextera.workflow_run(b'{"id":"r","status":"A","status":"B"}', listed, plextera.Context())
    step = '{"id":"s","name":"a","name":"b"}'
    nested = '{"id":"n","status":"A","status":"B"}'
    body = f'{{"id":"r","steps":[{step},{{"nestedRuns":{{"data":[{nested}]}}}}]}}'
    reading = plextera.workflow_run(body.encode(), listed, plextera.Context())
    first, second = reading.batch.dicts(WORKFLOW_STEPS)
    assert first["extra"] == f'{{"step":{step}}}'
    assert second["extra"] == f'{{"nestedRuns":{{"data":[{nested}]}}}}'
    assert len(reading.batch.dicts(WORKFLOW_RUNS)) == 1
