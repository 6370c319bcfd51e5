from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from vidtag_cli.bundle.strict_json import decode, encode, read_json_object
from vidtag_cli.errors import ModelError


@dataclass(frozen=True, slots=True)
class Inner:
    size: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    scale: float
    kind: Literal["a", "b"]
    note: str | None
    parts: dict[str, Inner]


GOOD = {"name": "x", "scale": 2, "kind": "a", "note": None, "parts": {"p": {"size": 1, "shape": ["N", 3]}}}


def test_a_value_survives_the_way_there_and_back():
    decoded = decode(Outer, GOOD)
    assert decoded == Outer("x", 2.0, "a", None, {"p": Inner(1, ("N", 3))})
    assert decode(Outer, {**encode(decoded), "parts": GOOD["parts"]}) == decoded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, r"^name: expected a string, found an integer"),
        ({"scale": True}, r"^scale: expected a number, found true or false"),
        ({"scale": float("nan")}, r"^scale: nan is not a finite number"),
        ({"scale": 10**400}, r"^scale: .* is not a finite number"),
        ({"kind": "c"}, r"^kind: expected one of 'a', 'b', found 'c'"),
        ({"kind": ["a"]}, r"^kind: expected one of"),
        ({"note": 3}, r"^note: expected a string"),
        ({"parts": []}, r"^parts: expected an object, found an array"),
        ({"parts": {"p": {"size": 1.0, "shape": []}}}, r"^parts\.p\.size: expected an integer, found a number"),
        ({"parts": {"p": {"size": 1, "shape": [None]}}}, r"^parts\.p\.shape\[0\]: expected an integer"),
        ({"parts": {"p": {"shape": []}}}, r"^parts\.p\.size: the key is missing"),
        ({"parts": {"p": {"size": 1, "shape": [], "x": 0}}}, r"^parts\.p\.x: unknown key"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(change, message):
    with pytest.raises(ModelError, match=message):
        decode(Outer, GOOD | change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a JSON object"),
        ("{", "not valid JSON"),
        ('{"a": 1, "a": 2}', "given twice"),
        ('{"a": NaN}', "not a JSON number"),
        ('{"a": -Infinity}', "not a JSON number"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_not_one_plain_object_is_refused(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        read_json_object(path)


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ModelError, match="not valid JSON"):
        read_json_object(path)
