from __future__ import annotations

import dataclasses
import json

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
        (lambda c: c.update(logit_scale=0), r"logit_scale: 0\.0 must be greater than 0"),
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
