"""The check of a data set: its doubts, its map and its command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_trees import write_msls_side
from typer.testing import CliRunner

from training.data.check import check_scan
from training.data.command import data_app
from training.data.coverage import measure_coverage
from training.data.kinds import find_kind, open_data_set
from training.data.ledger import Ledger
from training.data.sample import FrameSource, Sample, ScanResult
from vidtag_cli.errors import InputError, UsageError


def sample(key: str, latlon_deg: list[tuple[float, float]]) -> Sample:
    count = len(latlon_deg)
    frames = tuple(FrameSource(Path(f"{key}_{number}.jpg")) for number in range(count))
    return Sample(key, key, "city", frames, np.array(latlon_deg, dtype=np.float64), np.arange(count, dtype=np.float64))


def scan_of(*samples: Sample) -> ScanResult:
    return ScanResult(samples, Ledger().report("made", Path("root")))


@pytest.fixture
def msls(tmp_path: Path) -> Path:
    root = tmp_path / "msls"
    write_msls_side(root / "train_val" / "tokyo" / "query", {"a": 20, "b": 16, "c": 3})
    write_msls_side(root / "train_val" / "paris" / "database", {"d": 18}, lat=48.8, lon=2.3)
    return root


def test_doubts_about_what_was_kept() -> None:
    north = [(10.0 + number * 1e-3, 179.9999 if number % 2 else -179.9999) for number in range(20)]
    jump = [*north[:10], *[(lat + 0.05, lon) for lat, lon in north[10:]]]
    check = check_scan(
        scan_of(
            sample("a", north),
            sample("b", north),
            sample("c", jump),
            sample("d", [(1.0, 2.0)] * 16),
            sample("e", north[:4]),
        )
    )
    assert {(each.unit, each.reason): (each.count, each.examples) for each in check.doubts} == {
        ("sequence", "duplicate_track"): (1, ("b has the track of a",)),
        ("sequence", "fewer_than_16_frames"): (1, ("e: 4",)),
        ("sequence", "one_position"): (1, ("d",)),
        ("step", "position_jump"): (1, ("c: 5.7 km",)),  # and none where a track crosses the antimeridian
    }
    assert check.frames_percentiles == (4, 4, 20, 20, 20)


def test_check_of_nothing() -> None:
    check = check_scan(scan_of())
    assert (check.doubts, check.strata, check.frames_percentiles) == ((), (), ())


def test_coverage_counts_every_frame_once() -> None:
    coverage = measure_coverage(
        [sample("a", [(90.0, 10.0), (-90.0, -180.0), (0.05, 179.95)]), sample("b", [(0.05, 179.99), (0.05, 179.95)])],
        0.1,
    )
    assert coverage.south_west_deg == pytest.approx(np.array([[-90.0, -180.0], [0.0, 179.9], [89.9, 10.0]]))
    assert (coverage.frames.tolist(), coverage.sequences.tolist()) == ([1, 3, 1], [1, 2, 1])
    with pytest.raises(UsageError, match="divide a meridian"):
        measure_coverage([], 0.7)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(data_app, ["check", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_command_prints_a_table(msls: Path) -> None:
    code, out, _ = run(msls)
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["sequence", "found", "4"] in rows
    assert any(row[:5] == ["frame", "dropped:", "sequence_short", "3", "msls/tokyo/c:"] for row in rows)


def test_command_prints_json(msls: Path) -> None:
    code, out, _ = run(msls, "--kind", "msls", "--min-frames", 18, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["schema"] == "vidtag-data-check/1"
    assert found["scan"]["kept"] == {"city": 2, "folder": 2, "frame": 38, "sequence": 2}
    assert [(each["name"], each["sequences"], each["frames"]) for each in found["strata"]] == [
        ("paris", 1, 18),
        ("tokyo", 1, 20),
    ]
    assert found["frames_per_sequence"] == {"0": 18, "5": 18, "50": 18, "95": 20, "100": 20}


def test_command_writes_the_map(msls: Path, tmp_path: Path) -> None:
    geojson, png = tmp_path / "map.geojson", tmp_path / "map.png"
    assert run(msls, "--map", geojson)[0] == 0
    features = json.loads(geojson.read_text())["features"]
    assert {each["geometry"]["type"] for each in features} == {"Polygon"}
    assert sum(each["properties"]["frames"] for each in features) == 54
    pytest.importorskip("matplotlib")
    assert run(msls, "--map-png", png)[0] == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    code, _, err = run(msls, "--map-png", png)
    assert (code, "exists" in err) == (5, True)


def test_unreadable_tree_is_code_3_and_findings_are_none(tmp_path: Path) -> None:
    code, out, err = run(tmp_path / "absent", "--json")
    assert (code, json.loads(out)["error"]["exit_code"]) == (3, 3)
    assert "cannot be listed" in err
    code, _, err = run(tmp_path)
    assert (code, "not a data set" in err) == (3, True)
    assert run(tmp_path, "--kind", "kitti")[0] == 2


def test_kind_is_told_by_the_layout(msls: Path, tmp_path: Path) -> None:
    assert find_kind(msls) == "msls"
    (tmp_path / "g" / "info" / "100k" / "val").mkdir(parents=True)
    assert find_kind(tmp_path / "g") == "gama"
    (tmp_path / "c" / "meta").mkdir(parents=True)
    (tmp_path / "c" / "meta" / "labels_list.csv").touch()
    assert find_kind(tmp_path / "c") == "cityguessr"
    (tmp_path / "v" / "deep").mkdir(parents=True)
    (tmp_path / "v" / "deep" / "clip.MOV").touch()
    assert find_kind(tmp_path / "v") == "videos"
    assert open_data_set(tmp_path / "v").name == "videos"
    with pytest.raises(InputError, match="not a data set"):
        find_kind(tmp_path / "v" / "absent")
