from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_bundle import EMBEDDING_DIM, FRAME_SIZE_PX, graph_model, write_tiny_bundle

from vidtag_cli.bundle import load_bundle, verify_bundle
from vidtag_cli.bundle.bundle_json import read_bundle_json, write_bundle_json
from vidtag_cli.bundle.contract import BUNDLE_JSON, GALLERY_FILE
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError


@pytest.fixture
def bundle_dir(tmp_path):
    return write_tiny_bundle(tmp_path)


def relist(bundle_dir, **changes):
    """Write the contract again with other fields, as an exporter with bad intentions could."""
    write_bundle_json(bundle_dir, dataclasses.replace(read_bundle_json(bundle_dir), **changes))


def test_a_bundle_loads_with_absolute_paths_and_fixed_letters(bundle_dir, monkeypatch):
    monkeypatch.chdir(bundle_dir.parent)
    bundle = load_bundle(bundle_dir.name)
    assert (bundle.name, bundle.kind, bundle.window.frames) == ("tiny", "vidtag", 16)
    assert bundle.sha256 == hashlib.sha256((bundle_dir / BUNDLE_JSON).read_bytes()).hexdigest()
    graph = bundle.graphs["dual_encoder"]
    assert graph.path.is_absolute() and graph.sha256 == sha256_of(graph.path)
    assert graph.inputs[0].shape == ("N", FRAME_SIZE_PX, FRAME_SIZE_PX, 3)
    assert bundle.graphs["location_encoder"].outputs[0].shape == ("N", EMBEDDING_DIM)


def test_one_changed_byte_is_found_and_the_file_is_named(bundle_dir):
    path = bundle_dir / "tempgeo.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"tempgeo\.onnx: changed.*install the model again"):
        load_bundle(bundle_dir)
    load_bundle(bundle_dir, verify=False)


@pytest.mark.parametrize("verify", [True, False])
def test_a_missing_file_is_refused_with_and_without_hashing(bundle_dir, verify):
    (bundle_dir / GALLERY_FILE).unlink()
    with pytest.raises(ModelError, match=r"gallery_latlon\.npy: missing"):
        load_bundle(bundle_dir, verify)


@pytest.mark.parametrize(
    "spelling", ["../outside.bin", "/etc/hostname", "a/../../outside.bin", "", ".", "a//b", "..\\outside.bin", "a\0b"]
)
@pytest.mark.parametrize("verify", [True, False])
def test_a_path_that_leaves_the_folder_is_refused(bundle_dir, spelling, verify):
    (bundle_dir.parent / "outside.bin").write_bytes(b"x")
    relist(bundle_dir, files={spelling: hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(ModelError, match="outside"):
        load_bundle(bundle_dir, verify)


@pytest.mark.parametrize("name", ["x" * 300, "é" * 130, "x/" * 600 + "x", "x" * 10**6])
def test_a_name_too_long_for_a_file_is_refused_in_few_words(bundle_dir, name):
    relist(bundle_dir, files={name: hashlib.sha256(b"x").hexdigest()})
    for verify in (True, False):
        with pytest.raises(ModelError, match="no name that a file can have") as problem:
            load_bundle(bundle_dir, verify)
        assert len(str(problem.value)) < 600


def test_an_error_lists_some_of_many_bad_files(bundle_dir):
    relist(bundle_dir, files={f"{number}.bin": hashlib.sha256(b"x").hexdigest() for number in range(1000)})
    with pytest.raises(ModelError, match=r"4\.bin: missing; and 997 more; install") as problem:
        load_bundle(bundle_dir)
    assert len(str(problem.value)) < 600


def test_a_symbolic_link_out_of_the_folder_is_refused_and_one_inside_is_not(bundle_dir):
    outside = bundle_dir.parent / "outside.npy"
    (bundle_dir / GALLERY_FILE).rename(outside)
    (bundle_dir / GALLERY_FILE).symlink_to(outside)
    with pytest.raises(ModelError, match=r"gallery_latlon\.npy: outside: .*symbolic link out of the bundle"):
        load_bundle(bundle_dir)
    (bundle_dir / GALLERY_FILE).unlink()
    outside.rename(bundle_dir / "real.bin")
    (bundle_dir / GALLERY_FILE).symlink_to("real.bin")
    assert load_bundle(bundle_dir).gallery_latlon_deg().shape == (4, 2)


def test_the_bundle_itself_may_be_reached_through_a_link(bundle_dir, tmp_path):
    link = tmp_path / "link.vidtag"
    link.symlink_to(bundle_dir)
    assert load_bundle(link).path == bundle_dir.resolve()


def test_a_pipe_in_place_of_a_file_does_not_hang(bundle_dir):
    (bundle_dir / GALLERY_FILE).unlink()
    os.mkfifo(bundle_dir / GALLERY_FILE)
    with pytest.raises(ModelError, match=r"gallery_latlon\.npy: unreadable: not a regular file"):
        load_bundle(bundle_dir)


def test_files_that_nothing_loads_may_lie_beside_and_graphs_may_not(bundle_dir):
    (bundle_dir / "README.md").write_text("by hand")
    load_bundle(bundle_dir)
    (bundle_dir / "other.ONNX").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"other\.ONNX: unlisted"):
        load_bundle(bundle_dir)


def with_external_weights(bundle_dir: Path, location: str) -> None:
    path = bundle_dir / "tempgeo.onnx"
    onnx.save(graph_model("tempgeo"), path, save_as_external_data=True, location="tempgeo.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = location
    path.write_bytes(model.SerializeToString())
    contract = read_bundle_json(bundle_dir)
    graph = dataclasses.replace(contract.graphs["tempgeo"], sha256=sha256_of(path))
    relist(bundle_dir, graphs=contract.graphs | {"tempgeo": graph})


def test_external_weights_are_accepted_only_when_listed(bundle_dir):
    with_external_weights(bundle_dir, "tempgeo.data")
    with pytest.raises(ModelError, match=r"tempgeo\.data: unlisted: tempgeo\.onnx reads its weights from it"):
        load_bundle(bundle_dir)
    files = read_bundle_json(bundle_dir).files
    relist(bundle_dir, files=files | {"tempgeo.data": sha256_of(bundle_dir / "tempgeo.data")})
    load_bundle(bundle_dir)


@pytest.mark.parametrize("listed", [True, False])
def test_external_weights_outside_the_folder_are_refused_even_when_listed(bundle_dir, listed):
    with_external_weights(bundle_dir, "../secret")
    (bundle_dir.parent / "secret").write_bytes(b"x")
    if listed:
        relist(bundle_dir, files=read_bundle_json(bundle_dir).files | {"../secret": hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(ModelError, match=r"\.\./secret: (outside|unlisted)"):
        load_bundle(bundle_dir, verify=False)


def test_a_gallery_is_read_as_it_was_written(bundle_dir):
    latlon_deg = load_bundle(bundle_dir).gallery_latlon_deg()
    assert latlon_deg.dtype == np.float64
    np.testing.assert_array_equal(latlon_deg[2], [-17.0, 179.999])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 2), np.float32),
        np.zeros((2, 3)),
        np.zeros((0, 2)),
        np.array([[91.0, 0.0]]),
        np.array([[0.0, 180.0]]),
        np.array([[np.nan, 0.0]]),
        np.array([[{"a": 1}, 2]], dtype=object),
    ],
)
def test_a_gallery_that_is_not_coordinates_is_refused(bundle_dir, array):
    path = bundle_dir / GALLERY_FILE
    np.save(path, array, allow_pickle=True)
    relist(bundle_dir, files=read_bundle_json(bundle_dir).files | {GALLERY_FILE: sha256_of(path)})
    with pytest.raises(ModelError, match=r"gallery_latlon\.npy"):
        load_bundle(bundle_dir).gallery_latlon_deg()


def test_a_file_that_is_not_listed_cannot_be_asked_for(bundle_dir):
    with pytest.raises(ModelError, match=r"has no file 'other\.npz'"):
        load_bundle(bundle_dir).file("other.npz")


def test_verification_reports_every_file(bundle_dir):
    assert verify_bundle(bundle_dir).is_ok
    (bundle_dir / GALLERY_FILE).unlink()
    (bundle_dir / "georefiner.onnx").write_bytes(b"x")
    report = verify_bundle(bundle_dir)
    statuses = {check.path: check.status for check in report.files}
    assert not report.is_ok
    assert statuses == {
        "dual_encoder.onnx": "ok",
        "tempgeo.onnx": "ok",
        "location_encoder.onnx": "ok",
        "georefiner.onnx": "changed",
        GALLERY_FILE: "missing",
        "domain.npz": "ok",
    }


def test_a_folder_that_is_no_bundle_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"no model bundle: it has no bundle\.json"):
        load_bundle(tmp_path)
