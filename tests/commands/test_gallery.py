"""``vidtag gallery`` with a tiny model and a real engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle
from typer.testing import CliRunner, Result

from vidtag_cli.bundle import load_bundle
from vidtag_cli.commands.gallery import app
from vidtag_cli.errors import InputError, ModelError, OutputError, UsageError
from vidtag_cli.gallery.store import open_gallery


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path)


@pytest.fixture
def seam_model(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path, name="seam", location_encoder_kind="equal_earth")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_build_and_info_of_a_country(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "iceland"
    built = run("build", out, "--model", model, "--country", "iceland", "--spacing-km", 50, "--json")
    answer = json.loads(built.stdout)
    assert built.stdout.count("\n") == 1
    assert answer["gallery"]["origin"]["source"] == "Iceland, every 50 km"
    assert answer["gallery"]["cell_area_km2"] == 2500.0
    gallery = open_gallery(out, load_bundle(model).graphs["location_encoder"].sha256, verify=True)
    assert gallery.points == answer["gallery"]["points"]

    info = json.loads(run("info", out, "--json", "--verify").stdout)
    assert info["countries"] == [{"name": "Iceland", "points": gallery.points}]
    assert 0.0 < info["floor"]["median_km"] < info["floor"]["max_km"] < 150.0
    text = run("info", out, "--country", "Iceland").stdout
    assert "Iceland, every 50 km" in text
    assert "a perfect model gets within" in text


def test_an_encoder_with_a_seam_gets_both_longitudes(tmp_path: Path, seam_model: Path, model: Path) -> None:
    box = ("--box=-18,179,-16,-179", "--spacing-km", 20, "--json")
    with_seam = json.loads(run("build", tmp_path / "a", "--model", seam_model, *box).stdout)["gallery"]
    without = json.loads(run("build", tmp_path / "b", "--model", model, *box).stdout)["gallery"]
    assert with_seam["rows"] > with_seam["points"] == without["points"] == without["rows"]
    assert with_seam["bounding_box_deg"][0] > with_seam["bounding_box_deg"][2]


def test_points_of_a_file_with_a_warning(tmp_path: Path, model: Path) -> None:
    points = tmp_path / "p.csv"
    points.write_text("lat,lon\n48.85,2.35\n48.85,2.35\n0,0\n6.52,3.37\n")
    result = run("build", tmp_path / "g", "--model", model, "--points", points, "--json")
    answer = json.loads(result.stdout)
    assert answer["duplicates_merged"] == 1
    assert answer["gallery"]["points"] == 2
    assert "line 4" in answer["warnings"][0]
    assert "line 4" in result.stderr
    assert "line 4" not in run("build", tmp_path / "h", "--model", model, "--points", points, "-q").stderr


def test_an_existing_gallery_needs_force(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "g"
    build = ("build", out, "--model", model, "--spacing-km", 500)
    run(*build, "--box", "10,10,20,20")
    with pytest.raises(OutputError, match="--force"):
        run(*build, "--box", "30,30,40,40")
    run(*build, "--box", "30,30,40,40", "--force")
    assert np.load(out / "coordinates.npy")[:, 0].min() > 29.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--spacing-km", "10"], "exactly one of"),
        (["--land", "--country", "Fiji", "--spacing-km", "10"], "--land and --country given"),
        (["--land"], "--spacing-km"),
        (["--points", "p.csv", "--spacing-km", "1"], "leave --spacing-km out"),
        (["--land", "--spacing-km", "10", "--padding-km", "5"], "goes with --country"),
        (["--land", "--spacing-km", "10", "--land-only"], "goes with --box"),
        (["--box", "1,2,3", "--spacing-km", "10"], "south,west,north,east"),
        (["--box", "3,2,1,4", "--spacing-km", "10"], "order is south"),
        (["--country", "Atlantis", "--spacing-km", "10"], "unknown country"),
        (["--land", "--spacing-km", "-3"], "not a positive number"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, model: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run("build", tmp_path / "g", "--model", model, *arguments)
    assert not (tmp_path / "g").exists()


def test_inputs_that_are_not_there(tmp_path: Path, model: Path) -> None:
    with pytest.raises(InputError, match=r"p\.csv"):
        run("build", tmp_path / "g", "--model", model, "--points", tmp_path / "p.csv")
    with pytest.raises(ModelError):
        run("build", tmp_path / "g", "--model", tmp_path / "none.vidtag", "--box", "0,0,1,1", "--spacing-km", 10)
    with pytest.raises(ModelError, match="not a gallery"):
        run("info", tmp_path)
