"""GAMa over BDD100K in its true layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from data_trees import START_MS, finding, location, losses, notes, write_drive, write_info
from scan_books import unaccounted

from training.data.frames import read_frames
from training.data.gama import DriveVideos
from training.data.video_samples import VideoSampling
from vidtag_cli.errors import InputError

FIX_GRID_DEG = 1e-9


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with one drive of 20 s and a fix a second in either part."""
    root = tmp_path_factory.mktemp("gama")
    write_drive(root, "train", "0008a165-c48f4b3e")
    write_drive(root, "val", "b1c66a42-6f7d68ca")
    (root / "list").mkdir()
    (root / "list" / "train_day.list").write_text("0008a165-c48f4b3e 40\n")
    (root / "list" / "val_day_vid.list").write_text("b1c66a42-6f7d68ca\n")
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "gama"))


def test_a_frame_a_second_with_interpolated_positions(whole: Path) -> None:
    result = DriveVideos(whole).scan()
    train, val = result.samples
    assert (train.key, train.official_split) == ("gama/train/0008a165-c48f4b3e", "train")
    assert (val.key, val.official_split) == ("gama/val/b1c66a42-6f7d68ca", "val")
    assert train.time_s == pytest.approx(np.arange(20.0))
    assert train.latlon_deg[:, 0] == pytest.approx(40.7 + train.time_s * 1e-4, abs=FIX_GRID_DEG)
    assert result.report.found == {"fix": 42, "frame": 40, "sequence": 2, "video": 2}
    assert (losses(result.report), notes(result.report)) == ({}, {})
    assert unaccounted(result.report) == {}


def test_every_frame_on_request_is_between_two_fixes(whole: Path) -> None:
    sample = DriveVideos(whole, VideoSampling(None)).scan().samples[0]
    assert sample.time_s == pytest.approx(np.arange(40) / 2.0)
    assert sample.latlon_deg[1] == pytest.approx([40.70005, -73.9], abs=FIX_GRID_DEG)
    assert read_frames(sample, np.arange(0, 40, 13), 16).shape == (4, 16, 16, 3)


def test_fixes_of_all_kinds(root: Path) -> None:
    good = [location(second) for second in range(21)]
    bad = [
        location(3.1, 0.0, 0.0), location(3.2, 91.0), location(3.3, "east"), location(3.4, float("nan")),
        {"timestamp": None, "latitude": 40.7, "longitude": -73.9}, "not a location", location(5, 41.0),
    ]  # fmt: skip
    write_drive(root, "train", "0008a165-c48f4b3e", locations=[*good[::-1], *bad])
    result = DriveVideos(root).scan()
    assert losses(result.report) == {
        ("fix", "duplicate_time"): 1,
        ("fix", "position_not_finite"): 2,
        ("fix", "position_null_island"): 1,
        ("fix", "position_out_of_range"): 1,
        ("fix", "time_not_finite"): 2,  # a record that is no object has neither time nor place
    }
    assert notes(result.report) == {("video", "fixes_unordered"): 1}
    assert len(result.samples) == 2
    assert unaccounted(result.report) == {}
    assert result.samples[0].latlon_deg[5] == pytest.approx([40.7005, -73.9], abs=FIX_GRID_DEG)


def test_gap_cuts_a_video_in_two_of_one_group(root: Path) -> None:
    seconds = [*range(18), *range(30, 48)]
    write_drive(root, "train", "0008a165-c48f4b3e", 52.0, locations=[location(second) for second in seconds])
    result = DriveVideos(root).scan()
    first, second, _ = result.samples
    assert (first.key, second.key) == ("gama/train/0008a165-c48f4b3e#1", "gama/train/0008a165-c48f4b3e#2")
    assert first.group == second.group == "0008a165"
    assert (len(first), len(second), second.frames[0].media_time_s) == (18, 18, 30.0)
    assert losses(result.report) == {("frame", "gps_gap"): 12, ("frame", "outside_track"): 4}
    assert finding(result.report, "gps_gap").examples == ("gama/train/0008a165-c48f4b3e: 18.000 to 29.000 s",)
    assert unaccounted(result.report) == {}


def test_videos_of_all_kinds(root: Path) -> None:
    good, val = "0008a165-c48f4b3e", "b1c66a42-6f7d68ca"
    names = {name: f"0000000{number}-00000000" for number, name in enumerate(
        ["no_info", "no_video", "no_json", "no_track", "broken", "short", "early"])}  # fmt: skip
    videos, info = root / "bdd100k" / "videos" / "train", root / "bdd100k" / "info" / "100k" / "train"
    for name in ("no_info", "no_json", "no_track", "short", "early"):
        shutil.copy(videos / f"{good}.mov", videos / f"{names[name]}.mov")
    for name in ("no_video", "broken"):
        shutil.copy(info / f"{good}.json", info / f"{names[name]}.json")
    (videos / f"{names['broken']}.mov").write_bytes(b"no video")
    write_info(root, "train", names["no_json"], "{")
    write_info(root, "train", names["no_track"], f'{{"startTime": {START_MS}, "locations": [], "gps": null}}')
    text = (info / f"{good}.json").read_text()
    write_info(
        root, "train", names["short"], text.replace('"startTime": 15038281', '"startTime": 15038280')
    )  # 100 s before
    write_info(
        root, "train", names["early"], text.replace(f'"startTime": {START_MS}', f'"startTime": {START_MS + 10_000}')
    )
    lists = [good, *names.values(), good]
    (root / "list" / "train_day.list").write_text("\n".join(f"{name} 40" for name in lists) + "\n")
    (root / "list" / "val_day_vid.list").write_text(f"{val}\n\n{good}\n")
    result = DriveVideos(root).scan()
    assert [each.key for each in result.samples] == [f"gama/train/{good}", f"gama/val/{val}"]
    assert result.report.found == {"fix": 105, "frame": 80, "sequence": 3, "video": 11}
    assert losses(result.report) == {
        ("frame", "outside_track"): 29,
        ("frame", "sequence_short"): 11,
        ("sequence", "sequence_short"): 1,
        ("video", "duplicate_key"): 2,
        ("video", "info_missing"): 1,
        ("video", "no_sequence"): 2,
        ("video", "track_unusable"): 2,
        ("video", "video_missing"): 1,
        ("video", "video_unreadable"): 1,
    }
    assert unaccounted(result.report) == {}
    assert str(root) not in str(result.report.findings)


def test_gps_stands_in_for_locations(root: Path) -> None:
    write_drive(root, "train", "0008a165-c48f4b3e", locations=[], gps=[location(second) for second in range(21)])
    assert len(DriveVideos(root).scan().samples) == 2


def test_without_lists_every_info_file_counts_and_the_report_says_so(root: Path) -> None:
    shutil.rmtree(root / "list")
    result = DriveVideos(root).scan()
    assert len(result.samples) == 2
    assert notes(result.report) == {("list", "list_missing"): 2}


def test_folders_as_in_gamas_own_code(root: Path) -> None:
    (root / "bdd100k" / "videos").rename(root / "videos")
    (root / "bdd100k" / "info" / "100k").rename(root / "info")
    (root / "list" / "train_day.list").rename(root / "train_day.list")
    assert len(DriveVideos(root).scan().samples) == 2


def test_a_list_cannot_name_a_file_elsewhere(root: Path) -> None:
    (root / "list" / "train_day.list").write_text("../../secret 12\n")
    with pytest.raises(InputError, match=r"train_day\.list: line 1"):
        DriveVideos(root).scan()


def test_foreign_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bdd100k_info\.zip"):
        DriveVideos(tmp_path).scan()
