"""The track beside a video: one, and never an estimate."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.beside import only_candidate, tracks_beside

CSV = "time_s,lat,lon\n0,1,2\n"
OWN = "frame,offset_s,time_utc,lat,lon,radius50_m,radius95_m\n"


def folder_of(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("_", ".")).write_text(text)
    return tmp_path


def choice(video: Path) -> str:
    return only_candidate(video, tracks_beside(video)).name


@pytest.mark.parametrize("name", ["CLIP_GPX", "CLIP_Csv", "CLIP_geojson", "CLIP_TSV"])
def test_suffixes_in_any_case(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, **{name: CSV})
    assert choice(folder / "CLIP.MP4") == name.replace("_", ".")


def test_other_names_are_no_candidates(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clip_csv=CSV, clip2_csv=CSV, clip_old_csv=CSV, clip_txt=CSV, clip_srt="", other_gpx="")
    (folder / "clip.gpx").mkdir()
    assert choice(folder / "clip.mp4") == "clip.csv"


def test_several_are_an_error_that_lists_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clip_csv=CSV, clip_gpx="broken")
    with pytest.raises(InputError, match=r"several tracks beside it \(clip\.csv, clip\.gpx\): .*--truth"):
        choice(folder / "clip.mp4")


def test_our_own_output_is_passed_over(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clip_csv=OWN, clip_geojson=CSV, clip_json='{"schema": "vidtag-report/1"}')
    beside = tracks_beside(folder / "clip.mp4")
    assert only_candidate(folder / "clip.mp4", beside).name == "clip.geojson"
    assert [path.name for path, _ in beside.own_outputs] == ["clip.csv", "clip.json"]
    assert "clip.csv (it has radius50_m, radius95_m)" in beside.own_text()


def test_with_our_own_output_alone_there_is_no_truth(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clip_csv=OWN)
    with pytest.raises(InputError, match=r"no true track .*written by vidtag itself.*clip\.csv.*--truth embedded"):
        choice(folder / "clip.mp4")


def test_without_any_the_names_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.gpx, clip\.csv, clip\.tsv, clip\.geojson, clip\.json\): name it"):
        choice(tmp_path / "clip.avi")
    with pytest.raises(InputError, match="no true track"):
        choice(tmp_path / "absent" / ("n" * 5000 + ".mp4"))
