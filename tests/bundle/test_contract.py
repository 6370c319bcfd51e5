from __future__ import annotations

import copy
import dataclasses
import json
import re

import pytest
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle.bundle_json import read_bundle_json, write_bundle_json
from vidtag_cli.bundle.contract import BUNDLE_JSON, Window, is_model_name
from vidtag_cli.errors import ModelError


@pytest.fixture
def bundle_dir(tmp_path):
    return write_tiny_bundle(tmp_path)


def edit(bundle_dir, change):
    path = bundle_dir / BUNDLE_JSON
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read_back_equal(bundle_dir):
    contract = read_bundle_json(bundle_dir)
    before = (bundle_dir / BUNDLE_JSON).read_bytes()
    write_bundle_json(bundle_dir, contract)
    assert (bundle_dir / BUNDLE_JSON).read_bytes() == before
    assert read_bundle_json(bundle_dir) == contract


@pytest.mark.parametrize("schema", ["vidtag-bundle/2", None, 1])
def test_an_unknown_schema_version_is_refused_before_anything_else(bundle_dir, schema):
    edit(bundle_dir, lambda content: content.update(schema=schema, novelty=1))
    with pytest.raises(ModelError, match="schema: this program reads 'vidtag-bundle/1'") as caught:
        read_bundle_json(bundle_dir)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("domain"), r"domain: the key is missing"),
        (lambda c: c["graphs"]["tempgeo"].pop("sha256"), r"graphs\.tempgeo\.sha256: the key is missing"),
        (lambda c: c["window"].update(stride=4), r"window\.stride: unknown key"),
        (lambda c: c["graphs"].pop("georefiner"), r"graphs\.georefiner: the key is missing"),
        (lambda c: c["graphs"].update(extra=c["graphs"]["tempgeo"]), r"graphs\.extra: unknown key"),
        (lambda c: c["window"].update(overlap_frames=16), r"window\.overlap_frames: 16 must lie in \[0, 16\)"),
        (lambda c: c.update(name="../x"), r"name: '\.\./x' is not a name"),
        (lambda c: c.update(logit_scale=0), r"logit_scale: expected a number from 0\.001"),
        (
            lambda c: c["preprocess"].update(resize="crop"),
            r"preprocess\.resize: expected one of 'squash', 'center_crop'",
        ),
        (lambda c: c["graphs"]["tempgeo"].update(sha256="A" * 64), r"graphs\.tempgeo\.sha256: .* is not a SHA-256"),
        (lambda c: c["graphs"]["tempgeo"].update(file="tempgeo.ort"), r"graphs\.tempgeo\.file: .* not an \.onnx file"),
        (lambda c: c["graphs"]["tempgeo"]["inputs"][0].update(name="z"), r"graphs\.tempgeo\.inputs: expected"),
        (
            lambda c: c["graphs"]["location_encoder"]["inputs"][0].update(dtype="float32"),
            r"graphs\.location_encoder\.inputs\.latlon_deg: expected dtype float64, found float32",
        ),
        (
            lambda c: c["graphs"]["dual_encoder"]["inputs"][0].update(shape=["N", 224, 224, 3]),
            r"graphs\.dual_encoder\.inputs\.frames_rgb: expected shape",
        ),
    ],
)
def test_a_wrong_field_is_named_by_its_path(bundle_dir, change, message):
    edit(bundle_dir, change)
    with pytest.raises(ModelError, match=message):
        read_bundle_json(bundle_dir)


def test_numbers_may_stand_for_the_letters_a_bundle_fixes(bundle_dir):
    edit(bundle_dir, lambda c: c["graphs"]["dual_encoder"]["inputs"][0].update(shape=["N", 8, "S", 3]))
    read_bundle_json(bundle_dir)


def test_a_contract_that_could_not_be_read_is_not_written(bundle_dir):
    contract = dataclasses.replace(read_bundle_json(bundle_dir), window=Window(4, 4))
    before = (bundle_dir / BUNDLE_JSON).read_bytes()
    with pytest.raises(ModelError, match="overlap_frames"):
        write_bundle_json(bundle_dir, contract)
    assert (bundle_dir / BUNDLE_JSON).read_bytes() == before


@pytest.mark.parametrize(
    ("text", "is_name"),
    [("flyover", True), ("a.b-c_1", True), ("", False), (".hidden", False), ("a/b", False), ("x.vidtag", False)],
)
def test_names_cannot_be_paths(text, is_name):
    assert is_model_name(text) is is_name


def numbers(value, path=()):
    """Yield the path of every number in a JSON value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from numbers(item, (*path, index))
    elif isinstance(value, int | float):
        yield path


def put(value, path, number):
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = number


BEYOND_EVERY_RANGE = (-(10**400), -1e300, 1e300, 10**400, 2**64 + 1)


def test_every_number_has_a_range(bundle_dir):
    """Whatever a bundle changed by hand says, it is refused where it is read, by the key."""
    content = json.loads((bundle_dir / BUNDLE_JSON).read_text())
    paths = [path for path in numbers(content) if "shape" not in path]
    assert {path[0] for path in paths} >= {"preprocess", "sampling", "window", "logit_scale", "calibration", "training"}
    for path in paths:
        for number in BEYOND_EVERY_RANGE:
            changed = copy.deepcopy(content)
            put(changed, path, number)
            (bundle_dir / BUNDLE_JSON).write_text(json.dumps(changed))
            with pytest.raises(ModelError, match=re.escape(str(path[0]))):
                read_bundle_json(bundle_dir)


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("preprocess.frame_size_px", 100_000),
        ("preprocess.frame_size_px", 0),
        ("sampling.frames_per_second", 5e-324),
        ("sampling.frames_per_second", 1e9),
        ("window.frames", 0),
        ("window.frames", 10**9),
        ("window.overlap_frames", -1),
        ("logit_scale", 1e5),
        ("logit_scale", 1e-9),
        ("embedding_dim", 10**7),
        ("feature_dim", 0),
    ],
)
def test_a_number_that_would_take_all_memory_or_time_is_refused(bundle_dir, key, number):
    edit(bundle_dir, lambda content: put(content, key.split("."), number))
    with pytest.raises(ModelError, match=f"{key}: expected a number from"):
        read_bundle_json(bundle_dir)


def test_no_bundle_is_written_that_cannot_be_read(bundle_dir):
    contract = read_bundle_json(bundle_dir)
    with pytest.raises(ModelError, match="logit_scale: expected a number from"):
        write_bundle_json(bundle_dir, dataclasses.replace(contract, logit_scale=1e300))
    assert read_bundle_json(bundle_dir) == contract


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udfff.onnx"'])
def test_half_a_surrogate_is_no_text(bundle_dir, text):
    content = (bundle_dir / BUNDLE_JSON).read_text()
    for place in ('"version": "1"', '"file": "tempgeo.onnx"'):
        key = place.partition(":")[0]
        (bundle_dir / BUNDLE_JSON).write_text(content.replace(place, f"{key}: {text}"))
        with pytest.raises(ModelError, match=f"{key.strip(chr(34))}: .* is not Unicode text"):
            read_bundle_json(bundle_dir)
    (bundle_dir / BUNDLE_JSON).write_text(content.replace('"files": {', f'"files": {{{text}: "", '))
    with pytest.raises(ModelError, match="files: .* is not Unicode text"):
        read_bundle_json(bundle_dir)
