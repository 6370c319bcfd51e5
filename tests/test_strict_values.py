from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from vidtag_cli.strict_values import Range, StrictValueError, decode, encode, read_json_object


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
    with pytest.raises(StrictValueError, match=message):
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
    with pytest.raises(StrictValueError, match=message):
        read_json_object(path)


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(StrictValueError, match="not valid JSON"):
        read_json_object(path)


@dataclass(frozen=True, slots=True)
class Table:
    """What training's TOML needs beyond bundle.json."""

    speed: Annotated[float, Range(0.0, 10.0)] = 1.0
    count: Annotated[int, Range(1, 8)] = 2
    box: tuple[float, str] = (0.0, "")
    steps: int | tuple[int, ...] = 1
    part: Inner | None = None
    level: Literal[1, 2] = 1


def test_a_table_may_leave_out_what_has_a_default():
    assert decode(Table, {}) == Table()
    table = decode(Table, {"box": [1, "a"], "steps": [1, 2], "part": {"size": 1, "shape": []}, "level": 2})
    assert table == Table(box=(1.0, "a"), steps=(1, 2), part=Inner(1, ()), level=2)
    assert type(table.box[0]) is float
    assert decode(Table, {"speed": 0, "count": 8}) == Table(speed=0.0, count=8)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"speed": 10.5}, r"^speed: expected a number from 0 to 10, found 10\.5"),
        ({"speed": -1e-9}, r"^speed: expected a number from 0 to 10"),
        ({"speed": float("inf")}, r"^speed: inf is not a finite number"),
        ({"count": 0}, r"^count: expected a number from 1 to 8, found 0"),
        ({"count": 16**9000}, r"^count: .* found an integer of about 10\d{3} digits"),
        ({"count": 2.0}, r"^count: expected an integer, found a number"),
        ({"box": [1.0]}, r"^box: expected 2 entries, found 1"),
        ({"box": [1.0, 2.0]}, r"^box\[1\]: expected a string"),
        ({"box": "ab"}, r"^box: expected an array, found a string"),
        ({"steps": [1, "x"]}, r"^steps\[1\]: expected an integer, found a string"),
        ({"steps": "x"}, r"^steps: expected an integer, found a string"),
        ({"part": {"size": 1}}, r"^part\.shape: the key is missing"),
        ({"level": 3}, r"^level: expected one of 1, 2, found 3"),
        ({"level": True}, r"^level: expected one of 1, 2, found True"),
        ({"sped": 1.0}, r"^sped: unknown key; expected speed, count"),
    ],
)
def test_a_wrong_entry_of_a_table_is_named(table, message):
    with pytest.raises(StrictValueError, match=message):
        decode(Table, table)


def test_a_long_value_is_quoted_in_part():
    with pytest.raises(StrictValueError) as problem:
        decode(Outer, GOOD | {"kind": "x" * 10_000})
    assert len(str(problem.value)) < 200
