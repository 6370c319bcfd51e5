"""Borders of real files: found, cut in ffmpeg before frames are scaled, and said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.errors import UsageError, VideoError
from vidtag_cli.video.borders import NO_BORDERS, Borders, find_borders, parse_borders, settle_borders
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.ffmpeg import find_ffmpeg
from vidtag_cli.video.orientation import Orientation
from vidtag_cli.video.probe import probe_video

SIZE_WH = (32, 24)
SCENE = "color=gray:size=128x72:rate=8:duration=2,format=yuv444p,noise=alls=90:allf=t:all_seed=3"


def write_clip(path: Path, filters: str = "null", *options: str, source: str = SCENE) -> Path:
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source]
    command += ["-vf", filters, "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p", *options, f"file:{path}"]
    subprocess.run(command, check=True)
    return path


def frames_of(path: Path, borders: Borders = NO_BORDERS, **options) -> np.ndarray:
    with VideoDecoder(path, probe_video(path), SIZE_WH, borders=borders, **options) as decoder:
        return np.stack([frame.rgb for frame in decoder])


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("bare") / "bare.mp4")


@pytest.mark.parametrize(
    ("filters", "widths"),
    [
        ("pad=128:96:0:12", (0, 12, 0, 12)),
        ("pad=160:72:16:0:white", (16, 0, 16, 0)),
        ("pad=160:96:16:12:0x803020", (16, 12, 16, 12)),
        ("pad=240:160:20:12", (20, 12, 92, 76)),
        ("pad=128:96:0:12,fade=in:0:8", (0, 12, 0, 12)),
    ],
)
def test_borders_are_found_and_what_is_left_is_the_picture_itself(tmp_path, bare, filters, widths):
    path = write_clip(tmp_path / "framed.mp4", filters)
    report = find_borders(probe_video(path))
    assert report.borders.widths() == widths
    assert report.kinds == ("flat",)
    assert "borders were cut away" in report.notes(probe_video(path))[0]
    if "fade" not in filters:
        np.testing.assert_array_equal(frames_of(path, report.borders), frames_of(bare))


@pytest.mark.parametrize("filters", ["null", "eq=brightness=-0.5", "fade=in:0:8"])
def test_a_clip_without_borders_is_decoded_by_the_same_command(tmp_path, filters):
    path = write_clip(tmp_path / "whole.mp4", filters)
    report = find_borders(probe_video(path))
    assert not report.borders
    assert report.notes(probe_video(path)) == ()


def test_a_portrait_over_its_own_blurred_copy_is_cut_out(tmp_path):
    path = tmp_path / "blurred.mp4"
    graph = (
        "split[a][b];[a]scale=256:-2,crop=256:144,gblur=sigma=12[ground];[b]crop=40:72,scale=80:144[front];"
        "[ground][front]overlay=88:0"
    )
    write_clip(path, graph)
    left, top, right, bottom = find_borders(probe_video(path)).borders.widths()
    assert (top, bottom) == (0, 0)
    assert left in (88, 90)
    assert right in (88, 90)


@pytest.mark.parametrize("turn_deg", [90, 180, 270])
def test_borders_are_those_of_the_picture_as_shown(tmp_path, turn_deg):
    stored = write_clip(tmp_path / "stored.mp4", "pad=160:96:8:4")
    turned, plain = tmp_path / "turned.mp4", tmp_path / "plain.mp4"
    for source, target in ((stored, turned), (write_clip(tmp_path / "bare.mp4"), plain)):
        command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-display_rotation", str(turn_deg)]
        subprocess.run([*command, "-i", f"file:{source}", "-c", "copy", f"file:{target}"], check=True)
    info = probe_video(turned)
    report = find_borders(info)
    assert sorted(report.borders.widths()) == [4, 8, 20, 24]
    assert report.borders.as_stored(info.orientation) == Borders(8, 4, 24, 20)
    np.testing.assert_array_equal(frames_of(turned, report.borders), frames_of(plain))


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_stored_and_shown_borders_are_each_others_inverse(rotation_deg, is_mirrored):
    orientation, stored = Orientation(rotation_deg, is_mirrored), Borders(1, 2, 3, 4)
    assert stored.as_shown(orientation).as_stored(orientation) == stored
    assert Borders(1, 2, 3, 4).as_shown(Orientation(90)) == Borders(4, 1, 2, 3)
    assert Borders(1, 2, 3, 4).as_shown(Orientation(0, True)) == Borders(3, 2, 1, 4)


@pytest.mark.parametrize("mode", ["fast", "keyframes"])
def test_borders_are_cut_in_sparse_decoding_too(tmp_path, mode):
    framed = write_clip(tmp_path / "framed.mp4", "pad=128:96:0:12", "-g", "4")
    bare = write_clip(tmp_path / "bare.mp4", "null", "-g", "4")
    cut = frames_of(framed, find_borders(probe_video(framed)).borders, mode=mode)
    if mode == "keyframes":  # which frames no other needs is the encoder's choice
        np.testing.assert_array_equal(cut, frames_of(bare, mode=mode))
    assert cut[:, 0].std() > 10


def test_borders_are_cut_from_what_a_graphics_card_decodes_once_it_is_downloaded(tmp_path, bare):
    from fractions import Fraction

    from vidtag_cli.video.decode_command import decode_argv
    from vidtag_cli.video.sampling import SamplingGrid

    info, grid = (
        probe_video(write_clip(tmp_path / "a.mp4", "pad=128:96:0:12")),
        SamplingGrid(1.0, 0, Fraction(1, 90000)),
    )
    argv = decode_argv(
        find_ffmpeg(), info.path, info, SIZE_WH, grid, "squash", 1, 7, device="cuda", thumbnails_fd=8,
        borders=Borders(0, 12, 0, 12),
    )  # fmt: skip
    graph = argv[argv.index("-filter_complex") + 1]
    assert graph.count("]crop=") == 2  # of the picture and of its thumbnail
    assert graph.index("hwdownload") < graph.index("crop=")


def test_pictures_of_another_size_lose_the_same_share(tmp_path):
    """A stream that changes its size on the way, as of a call over a weak line."""
    parts = [
        write_clip(tmp_path / f"{number}.ts", f"pad=128:96:0:12,scale={128 * number}:{96 * number}:flags=neighbor")
        for number in (1, 2)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    report = find_borders(probe_video(joined))
    assert report.borders.widths() == (0, 12, 0, 12)
    frames = frames_of(joined, report.borders)
    assert frames.shape[0] > 16
    assert frames[:, 0].std(axis=(1, 2)).min() > 10  # no black line at the top of any
    assert frames[:, -1].std(axis=(1, 2)).min() > 10


def test_what_is_asked_for_is_understood_or_refused(bare):
    info = probe_video(bare)
    assert parse_borders("cut") == "cut"
    assert parse_borders("keep") == "keep"
    assert parse_borders("0,12,0,10") == (0, 12, 0, 10)
    for text in ("", "1,2,3", "1,2,3,4,5", "-1,0,0,0", "cut ", "١,2,3,4"):
        with pytest.raises(UsageError, match="--borders"):
            parse_borders(text)
    assert settle_borders(info, (2, 4, 6, 8)).borders == Borders(2, 4, 6, 8)
    assert not settle_borders(info, "keep").borders
    with pytest.raises(VideoError, match="leaves less than 16 pixels of its 128 x 72"):
        settle_borders(info, (60, 0, 60, 0))


def test_shots_with_borders_of_their_own_are_said(tmp_path):
    path = write_clip(tmp_path / "mixed.mp4", "drawbox=0:0:128:12:black:fill:enable='lt(t,1)',"
                      "drawbox=0:60:128:12:black:fill:enable='lt(t,1)'", "-g", "1")  # fmt: skip
    report = find_borders(probe_video(path))
    assert not report.borders
    assert "have borders that others have not" in report.notes(probe_video(path))[0]
