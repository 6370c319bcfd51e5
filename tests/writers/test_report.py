from __future__ import annotations

import json
import math

import pytest

from vidtag_cli.writers.report import canonical_json, render_report

REPORT = {
    "schema": "vidtag-report/1",
    "run": {"id": "x", "argv": ["locate", "é.mp4"]},
    "estimates": [{"lat": 1.5, "lon": None}],
}


def test_it_is_read_back_with_its_keys_in_order():
    content = render_report(REPORT)
    assert json.loads(content) == REPORT
    assert list(json.loads(content)) == ["schema", "run", "estimates"]
    assert content.endswith(b"}\n") and "é.mp4".encode() in content


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(ValueError):
        render_report(REPORT | {"estimates": [{"radius95_m": value}]})


@pytest.mark.parametrize("schema", [None, "vidtag-report/2"])
def test_another_schema_is_refused(schema):
    with pytest.raises(ValueError, match="vidtag-report/1"):
        render_report(REPORT | {"schema": schema})


def test_undecodable_names_can_be_written():
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    report = REPORT | {"input": {name: (name,)}}
    assert json.loads(render_report(report))["input"] == {"caf\ufffd.mp4": ["caf\ufffd.mp4"]}


def test_the_canonical_spelling_does_not_depend_on_the_order_of_keys():
    assert (
        canonical_json({"b": [1, 2.5], "a": "é"})
        == canonical_json({"a": "é", "b": (1, 2.5)})
        == '{"a":"é","b":[1,2.5]}'.encode()
    )
