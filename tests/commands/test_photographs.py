"""A photograph is located like a clip of one frame, and what it claims stands beside the estimate and is not used."""

import json

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image
from tiny_geoclip_bundle import write_tiny_geoclip_bundle

from vidtag_cli.bundle.bundle_json import read_bundle_json


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path, monkeypatch, capfd)


def photograph(path, claims=True, seed=0):
    levels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    exif = Image.Exif()
    if claims:
        exif[0x8825] = {1: "N", 2: (51.0, 30.0, 26.0), 3: "W", 4: (0.0, 7.0, 39.9)}
    Image.fromarray(levels).save(path, exif=exif.tobytes(), quality=95)
    return path


def test_one_photograph_has_all_outputs(run, tmp_path):
    model = write_tiny_geoclip_bundle(tmp_path)
    assert read_bundle_json(model).kind == "geoclip"
    photo = photograph(tmp_path / "photo.jpg")
    outputs = [f"photo.{kind}" for kind in ("gpx", "kml", "geojson", "csv")]
    done = run("locate", photo, "--model", model, "--fast", *(item for name in outputs for item in ("--out", name)))
    assert done.returncode in (0, 8), done.stderr
    assert all((tmp_path / name).stat().st_size for name in outputs)
    report = json.loads((tmp_path / "photo.report.json").read_text())
    text = json.dumps(report)
    assert '"source_key": "exif GPS"' in text and '"embedded_location_used": false' in text
    assert len(report["estimates"]) == 1


def test_what_a_phone_appends_is_no_second_frame(run, tmp_path):
    model, photo = write_tiny_geoclip_bundle(tmp_path), photograph(tmp_path / "photo.jpg")
    photo.write_bytes(photo.read_bytes() + photograph(tmp_path / "gain.jpg", False, 5).read_bytes())
    done = run("locate", photo, "--model", model, "--fast", "--all-frames", "--out", "photo.csv", "--csv-abstained")
    assert done.returncode in (0, 8), done.stderr
    assert len((tmp_path / "photo.csv").read_text().splitlines()) == 2


def test_a_batch_of_photographs_is_one_result_each(run, tmp_path):
    model = write_tiny_geoclip_bundle(tmp_path)
    photos = [photograph(tmp_path / f"photo{number}.jpg", False, number) for number in range(3)]
    done = run("locate", *photos, "--model", model, "--fast", "--out-dir", "out", "--format", "csv", "--csv-abstained")
    assert done.returncode in (0, 8), done.stderr
    assert len(list((tmp_path / "out").glob("*.csv"))) == 3
