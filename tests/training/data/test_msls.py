"""MSLS in its true layout, whole and with everything wrong that can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import finding, losses, notes, write_image, write_msls_side, write_table
from scan_books import unaccounted

from training.data.frames import read_frames
from training.data.msls import MapillarySequences
from training.data.sample import Place
from vidtag_cli.errors import InputError


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_query_and_database_are_merged_by_sequence(tmp_path: Path) -> None:
    write_msls_side(tmp_path / "train_val" / "tokyo" / "query", {"q1": 16})
    database = write_msls_side(tmp_path / "train_val" / "tokyo" / "database", {"d1": 17, "d2": 18})
    write_msls_side(tmp_path / "train_val" / "sf" / "query", {"s1": 16}, lat=37.7, lon=-122.4)
    rewrite(database / "seq_info.csv", ",d2,", ",q1,")  # the same sequence on both sides
    rewrite(database / "seq_info.csv", "d2_017,q1,17", "d2_017,q1,40")
    for number in range(17):  # whose frame numbers go on where the query stops
        rewrite(database / "seq_info.csv", f"d2_{number:03d},q1,{number}\n", f"d2_{number:03d},q1,{number + 16}\n")
    result = MapillarySequences(tmp_path).scan()
    assert [(each.key, len(each), each.stratum) for each in result.samples] == [
        ("msls/sf/s1", 16, "sf"), ("msls/tokyo/d1", 17, "tokyo"), ("msls/tokyo/q1", 34, "tokyo"),
    ]  # fmt: skip
    merged = result.samples[-1]
    assert merged.time_s.tolist() == [*range(33), 40.0]
    assert merged.frames[16].path == database / "images" / "d2_000.jpg"
    assert merged.latlon_deg[1] == pytest.approx([35.6001, 139.7])
    assert merged.place == Place("Tokyo", None, "Japan", "Asia")
    assert result.report.found == {"city": 2, "folder": 4, "frame": 67, "sequence": 3}
    assert losses(result.report) == {("folder", "table_missing"): 1}
    assert unaccounted(result.report) == {}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a city of 100 rows in seq_info.csv in which each fault strikes where a test expects it."""
    root = tmp_path / "msls"
    query = write_msls_side(root / "train_val" / "paris" / "query", {"a": 25, "b": 20, "c": 15})
    database = write_msls_side(root / "train_val" / "paris" / "database", {"d": 20, "e": 20})
    info, raw = query / "seq_info.csv", query / "raw.csv"
    (query / "images" / "a_000.jpg").unlink()
    rewrite(raw, "1,a_001,139.7,35.600100", "1,a_001,0.0,0.0")
    rewrite(raw, "2,a_002,139.7,35.600200", "2,a_002,139.7,nan")
    rewrite(raw, "3,a_003,139.7,35.600300", "3,a_003,35.6,139.7")
    rewrite(raw, "4,a_004,139.7,35.600400,90.0,2017-03-01,False\n", "")
    rewrite(info, "a_005,a,5\n", "a_005,a,\n")
    rewrite(info, "a_006,a,6\n", "a_006,a,7\n")  # two frames with the number 7
    rewrite(raw, "90.0,2017-03-01,False\n9,", "90.0,2017-03-01,True\n9,")  # a_008 is a panorama
    lines = info.read_text().splitlines()
    lines[26:46] = lines[45:25:-1]  # the rows of b backwards
    info.write_text("\n".join(lines) + "\n")
    rewrite(raw, "59,c_014", "59,nowhere")  # a raw row that no sequence names, and a sequence row without raw
    write_image(query / "images" / "stray.jpg")
    rewrite(database / "seq_info.csv", ",e_000,e,0", ",a_010,e,0")  # a key of the query again
    rewrite(database / "raw.csv", "139.7,35.600000,90.0,2017-03-01,False\n1,", "inf,35.6,90.0,2017-03-01,False\n1,")
    return root


def test_every_fault_is_counted_with_its_reason(broken: Path) -> None:
    result = MapillarySequences(broken).scan()
    assert [(each.key, len(each)) for each in result.samples] == [
        ("msls/paris/a", 18), ("msls/paris/b", 20), ("msls/paris/d", 19), ("msls/paris/e", 19),
    ]  # fmt: skip
    assert result.report.found == {"city": 1, "folder": 2, "frame": 102, "sequence": 5}
    assert result.report.kept == {"city": 1, "folder": 2, "frame": 76, "sequence": 4}
    assert losses(result.report) == {
        ("frame", "duplicate_frame_number"): 1,
        ("frame", "duplicate_key"): 1,
        ("frame", "image_missing"): 1,
        ("frame", "position_not_finite"): 2,
        ("frame", "position_null_island"): 1,
        ("frame", "position_out_of_range"): 1,
        ("frame", "raw_row_missing"): 2,
        ("frame", "row_malformed"): 1,
        ("frame", "sequence_row_missing"): 2,
        ("frame", "sequence_short"): 14,
        ("sequence", "sequence_short"): 1,
    }
    assert notes(result.report) == {
        ("frame", "panorama"): 1,
        ("image", "image_unlisted"): 2,
        ("sequence", "unordered"): 1,
    }
    assert unaccounted(result.report) == {}
    assert finding(result.report, "image_missing").examples == ("train_val/paris/query/seq_info.csv line 2: a_000",)
    assert finding(result.report, "duplicate_key").examples == ("train_val/paris/database/seq_info.csv line 22: a_010",)
    assert finding(result.report, "sequence_short", "sequence").examples == ("msls/paris/c: 14 frames",)


def test_unordered_rows_come_out_in_order(broken: Path) -> None:
    by_key = {each.key: each for each in MapillarySequences(broken).scan().samples}
    assert [source.path.stem for source in by_key["msls/paris/b"].frames] == [f"b_{number:03d}" for number in range(20)]
    assert np.all(np.diff(by_key["msls/paris/b"].latlon_deg[:, 0]) > 0.0)


def test_panoramas_can_be_left_out(broken: Path) -> None:
    report = MapillarySequences(broken, with_panoramas=False).scan().report
    assert losses(report)["frame", "panorama"] == 1
    assert unaccounted(report) == {}


def test_shorter_sequences_on_request(broken: Path) -> None:
    result = MapillarySequences(broken, min_frames=2).scan()
    assert "msls/paris/c" in {each.key for each in result.samples}
    assert ("sequence", "sequence_short") not in losses(result.report)


def test_pixels_of_a_sample(broken: Path) -> None:
    sample = MapillarySequences(broken).scan().samples[1]
    frames = read_frames(sample, [3, 0, 3], 8)
    assert frames.shape == (3, 8, 8, 3)
    assert np.array_equal(frames[0], frames[2])
    assert not np.array_equal(frames[0], frames[1])


def test_two_scans_are_equal(broken: Path) -> None:
    one, other = MapillarySequences(broken).scan(), MapillarySequences(broken).scan()
    assert one.report == other.report
    assert [each.key for each in one.samples] == [each.key for each in other.samples]


def test_foreign_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds train_val"):
        MapillarySequences(tmp_path).scan()


def test_table_without_its_column_is_an_input_error(tmp_path: Path) -> None:
    query = write_msls_side(tmp_path / "train_val" / "paris" / "query", {"a": 2})
    write_table(query / "seq_info.csv", ",key,sequence_id,frame_number", [])
    with pytest.raises(InputError, match=r"seq_info\.csv: line 1: no column sequence_key"):
        MapillarySequences(tmp_path).scan()
