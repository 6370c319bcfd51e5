"""A plain folder of videos with their tracks beside or inside them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from data_trees import finding, losses, notes, write_table
from gopro_telemetry import gps5_payload, write_telemetry
from real_media import RealMedia
from scan_books import unaccounted
from synthetic_video import write_video

from training.data.video_folder import VideoFolder
from training.data.video_samples import VideoSampling
from vidtag_cli.errors import InputError
from vidtag_cli.video.ffmpeg import find_ffmpeg

FINE_DEG = 1e-9


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of 20 s, two frames a second."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 20.0, fps=2, size="32x32")


def place(clip: Path, path: Path, brand: bytes = b"") -> Path:
    """Put the clip in its place; ``brand`` at the end, which no demuxer looks at, makes it another file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(clip.read_bytes() + (b"\0\0\0\x10free" + brand.ljust(8, b" ") if brand else b""))
    return path


def write_csv(path: Path, seconds: range, lat: float = 10.0) -> Path:
    return write_table(path, "time_s,lat,lon", [f"{second},{lat + second * 1e-4:.6f},20.0" for second in seconds])


def write_gpx(path: Path, seconds: range) -> Path:
    time = "2024-05-17T09:30:{:02d}Z"
    points = "".join(
        f'<trkpt lat="{10 + second * 1e-4:.6f}" lon="20"><time>{time.format(second)}</time></trkpt>'
        for second in seconds
    )
    path.write_text(f'<gpx version="1.1"><trk><trkseg>{points}</trkseg></trk></gpx>')
    return path


def test_tracks_of_three_formats(clip: Path, tmp_path: Path) -> None:
    place(clip, tmp_path / "a.mp4")
    write_csv(tmp_path / "a.csv", range(20))
    place(clip, tmp_path / "north" / "b.mp4", b"b")
    write_gpx(tmp_path / "north" / "b.gpx", range(20))
    place(clip, tmp_path / "north" / "c.mp4", b"c")
    write_table(
        tmp_path / "north" / "c.csv", "frame,lat,lon", [f"{frame},{10 + frame * 1e-4:.6f},20" for frame in range(40)]
    )
    result = VideoFolder(tmp_path).scan()
    assert [(each.key, each.stratum, len(each)) for each in result.samples] == [
        ("videos/a.mp4", "videos", 20), ("videos/north/b.mp4", "north", 20), ("videos/north/c.mp4", "north", 20),
    ]  # fmt: skip
    csv, gpx, frames = result.samples
    assert csv.latlon_deg[:, 0] == pytest.approx(10.0 + np.arange(20) * 1e-4, abs=FINE_DEG)
    assert gpx.latlon_deg == pytest.approx(csv.latlon_deg, abs=FINE_DEG)
    assert frames.latlon_deg[:, 0] == pytest.approx(10.0 + np.arange(0, 40, 2) * 1e-4, abs=FINE_DEG)
    assert losses(result.report) == {}
    assert notes(result.report) == {("video", "alignment_assumed"): 1}
    assert unaccounted(result.report) == {}


def test_every_fault_is_counted_with_its_reason(clip: Path, tmp_path: Path) -> None:
    for name in ("bad_fixes", "bare", "copy", "gap", "no_time", "short", "two_tracks", "unordered", "whole"):
        place(clip, tmp_path / f"{name}.mp4", b"" if name in ("copy", "bare") else name[:8].encode())
    write_csv(tmp_path / "whole.csv", range(20))
    write_csv(tmp_path / "two_tracks.csv", range(20))
    write_gpx(tmp_path / "two_tracks.gpx", range(20))
    write_csv(tmp_path / "gap.csv", range(2))
    with (tmp_path / "gap.csv").open("a") as stream:
        stream.write("18,10,20\n19,10,20\n")
    write_csv(tmp_path / "short.csv", range(5, 12))
    write_table(tmp_path / "no_time.csv", "lat,lon", ["1,2"])
    rows = [f"{second},{10 + second * 1e-4:.6f},20.0" for second in range(20)]
    write_table(tmp_path / "bad_fixes.csv", "time_s,lat,lon", [*rows, "19,10,20", "20,0,0", "21,0,0.0"])
    write_table(tmp_path / "unordered.csv", "time_s,lat,lon", rows[::-1])
    place(clip, tmp_path / "bare.mkv", b"bare")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    write_csv(tmp_path / "broken.csv", range(3))
    write_telemetry(tmp_path / "telemetry_only.mp4", [gps5_payload([(1.0, 2.0)])])
    (tmp_path / "notes.txt").touch()
    result = VideoFolder(tmp_path).scan()
    assert [each.key for each in result.samples] == [
        "videos/bad_fixes.mp4", "videos/unordered.mp4", "videos/whole.mp4",
    ]  # fmt: skip
    assert result.report.found == {"fix": 74, "frame": 100, "sequence": 6, "video": 12}
    assert losses(result.report) == {
        ("fix", "duplicate_time"): 1,
        ("fix", "position_null_island"): 2,
        ("frame", "gps_gap"): 16,
        ("frame", "outside_track"): 13,
        ("frame", "sequence_short"): 11,
        ("sequence", "sequence_short"): 3,
        ("video", "duplicate_content"): 1,
        ("video", "no_sequence"): 2,
        ("video", "several_tracks"): 1,
        ("video", "track_missing"): 2,
        ("video", "track_unusable"): 1,
        ("video", "video_unreadable"): 2,
    }
    assert notes(result.report) == {("video", "fixes_unordered"): 1}
    assert (
        finding(result.report, "several_tracks")
        .examples[0]
        .startswith("two_tracks.mp4: two_tracks.csv, two_tracks.gpx")
    )
    assert unaccounted(result.report) == {}
    assert finding(result.report, "duplicate_content").examples == ("copy.mp4 is bare.mp4",)
    assert str(tmp_path) not in str(result.report.findings)


def test_gap_is_bridged_where_that_is_asked_for(clip: Path, tmp_path: Path) -> None:
    place(clip, tmp_path / "a.mp4")
    write_table(tmp_path / "a.csv", "time_s,lat,lon", ["0,0.5,179.9", "20,0.5,-179.9"])
    (sample,) = VideoFolder(tmp_path, VideoSampling(max_gap_s=30.0)).scan().samples
    assert sample.latlon_deg[5] == pytest.approx([0.5, 179.95], abs=1e-5)  # the short way, over the antimeridian
    assert abs(sample.latlon_deg[10, 1]) == pytest.approx(180.0, abs=1e-5)
    assert len(VideoFolder(tmp_path).scan().samples) == 0


@pytest.fixture
def gopro(media: RealMedia, tmp_path: Path) -> Path:
    """Return a folder with the real clips and without the tracks beside them."""
    for name in ("gopro_max_carlsbad.mp4", "gopro_hero5_carlsbad.mp4", "gopro_hero8_no_lock.mp4"):
        (tmp_path / name).symlink_to(media / f"gps/{name}")
    return tmp_path


def test_embedded_gps_of_real_clips(gopro: Path) -> None:
    result = VideoFolder(gopro, VideoSampling(frames_per_s=10.0)).scan()
    assert [each.key for each in result.samples] == ["videos/gopro_hero5_carlsbad.mp4", "videos/gopro_max_carlsbad.mp4"]
    assert result.samples[1].latlon_deg[0] == pytest.approx([33.12677, -117.3273436])
    assert losses(result.report)["fix", "no_lock"] == 36
    assert finding(result.report, "track_unusable").examples[0].endswith("36 without a lock")
    # The README of the clips: its creation_time is 8 hours off its own GPS time.
    assert finding(result.report, "clock_offset").examples == (
        "gopro_max_carlsbad.mp4: creation_time -28782 s from GPS time",
    )
    assert unaccounted(result.report) == {}


def test_empty_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video"):
        VideoFolder(tmp_path).scan()


def test_two_scans_are_equal(clip: Path, tmp_path: Path) -> None:
    place(clip, tmp_path / "one" / "a.mp4")
    write_csv(tmp_path / "one" / "a.csv", range(20))
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one, other = VideoFolder(tmp_path / "one").scan(), VideoFolder(tmp_path / "other").scan()
    assert [each.key for each in one.samples] == [each.key for each in other.samples]
    assert one.report.as_json() == other.report.as_json()


@pytest.mark.parametrize(("offset_s", "first_row"), [(0, 5), (3, 8)])
def test_a_dated_start_is_that_of_the_file_and_not_of_a_late_picture(
    clip: Path, tmp_path: Path, offset_s: int, first_row: int
) -> None:
    """As in ``vidtag eval``: the track begins 5 s before the file does, the picture perhaps later than its sound."""
    sound = ["-f", "lavfi", "-i", "anullsrc=r=8000:d=20"]
    tags = ["-movflags", "use_metadata_tags", "-metadata", "com.apple.quicktime.creationdate=2024-05-17T09:30:05+0000"]
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-itsoffset", str(offset_s)]
    command += ["-i", f"file:{clip}", *sound, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", *tags]
    subprocess.run([*command, f"file:{tmp_path / 'dated.mov'}"], check=True)
    write_gpx(tmp_path / "dated.gpx", range(40))
    result = VideoFolder(tmp_path).scan()
    assert notes(result.report) == {}
    (sample,) = result.samples
    assert sample.latlon_deg[0, 0] == pytest.approx(10.0 + first_row * 1e-4, abs=1e-6)


def test_an_estimate_beside_a_video_is_no_label(clip: Path, tmp_path: Path) -> None:
    place(clip, tmp_path / "a.mp4")
    write_csv(tmp_path / "a.csv", range(20))
    (tmp_path / "a.gpx").write_text('<gpx creator="vidtag 0.1.0"><wpt lat="1" lon="2"/></gpx>')
    place(clip, tmp_path / "b.mp4", b"b")
    (tmp_path / "b.csv").write_text("offset_s,lat,lon,radius95_m\n0,1,2,3\n")
    result = VideoFolder(tmp_path).scan()
    assert [sample.key for sample in result.samples] == ["videos/a.mp4"]
    assert notes(result.report)["video", "own_output"] == 2
    assert losses(result.report)["video", "track_missing"] == 1


def test_labels_are_not_interpolated_across_segments(clip: Path, tmp_path: Path) -> None:
    place(clip, tmp_path / "a.mp4")
    text = write_gpx(tmp_path / "a.gpx", range(20)).read_text()
    begin = text.index("<trkpt", text.index("09:30:16"))
    rest = text[begin:].replace("09:30:17", "09:30:18.5", 1)
    (tmp_path / "a.gpx").write_text(f"{text[:begin]}</trkseg><trkseg>{rest[rest.index('<trkpt', 1) :]}")
    result = VideoFolder(tmp_path).scan()
    assert losses(result.report)["frame", "gps_gap"] >= 1
