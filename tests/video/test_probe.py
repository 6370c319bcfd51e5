from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import pytest

from vidtag_cli.errors import InputError, UsageError, VideoError
from vidtag_cli.video.orientation import Orientation
from vidtag_cli.video.probe import _orientation, probe_video

# path: codec, pixel format, size as shown, degrees clockwise, promised frames
STATED = {
    "gps/gopro_max_carlsbad.mp4": ("h264", "yuvj420p", (848, 480), 0, 315),
    "gps/gopro_hero5_carlsbad.mp4": ("h264", "yuvj420p", (854, 480), 0, 48),
    "gps/gopro_hero8_no_lock.mp4": ("h264", "yuvj420p", (848, 480), 0, 60),
    "street/lund_walk_29f_1fps.mp4": ("h264", "yuv420p", (1024, 768), 0, 29),
    "street/london_euston_hevc_vfr.mp4": ("hevc", "yuv420p", (1376, 1840), 0, 146),
    "street/california_freeway_dashcam.mp4": ("h264", "yuv420p", (960, 540), 0, 221),
    "phone/rotated90_hunan_location.mp4": ("h264", "yuv420p", (1080, 1920), 90, 32),
    "phone/rotated90_israel_iso6709.mov": ("h264", "yuv420p", (320, 568), 90, 120),
    "phone/null_island.mp4": ("h264", "yuv420p", (720, 1280), 90, 39),
    "phone/thermal gaps 2s.mp4": ("h264", "yuv420p", (1080, 1440), 0, 84),
    "odd/vfr_5ms_to_1570ms.mp4": ("h264", "yuv420p", (3026, 1386), 0, 63),
    "odd/truncated.mp4": ("h264", "yuv420p", (1920, 1080), 0, 745),
    "odd/no_initial_keyframe.ts": ("h264", "yuv420p", (640, 352), 0, None),
    "odd/edit_list.mp4": ("h264", "yuv420p", (854, 480), 0, 225),
    "odd/header_only.MP4": ("h264", None, (1920, 1080), 0, 72),
    "odd/nasa_13013_rotated.mp4": ("h264", "yuv420p", (270, 480), 270, 17),
    "odd/nasa_13013_hdr.mp4": ("hevc", "yuv420p10le", (320, 180), 0, 325),
    "odd/testsrc2_av1_10bit.mp4": ("av1", "yuv420p10le", (320, 240), 0, 25),
    "odd/testsrc2_odd_height_and_width_444_10bit.mp4": ("h264", "yuv444p10le", (321, 241), 0, 25),
    "odd/test_non_zero_start.mp4": ("h264", "yuv420p", (200, 112), 0, 12),
}
REFUSED = {
    "odd/audio_only.mp4": (VideoError, "no video stream"),
    "odd/no_moov.mov": (VideoError, "not a video"),
    "odd/zero_length.mp4": (InputError, "is empty"),
    "tracks/mavic_mini.SRT": (VideoError, "not a video"),
    "gps/gopro_max_carlsbad.gpx": (VideoError, "not a video"),
}
LOCATIONS = {
    "phone/rotated90_hunan_location.mp4": (27.2939, 112.6932, None, True),
    "phone/rotated90_israel_iso6709.mov": (32.0929, 34.862, 28.516, True),
    "phone/null_island.mp4": (0.0, 0.0, None, False),
    "phone/thermal gaps 2s.mp4": (34.0754, -118.2543, None, True),
    "gps/gopro_max_carlsbad.mp4": (33.1268, -117.3273, None, True),
}


def test_every_clip_has_an_expectation(media: Path) -> None:
    clips = {name for name in media.names() if name.lower().endswith((".mp4", ".mov", ".ts"))}
    assert clips <= STATED.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", STATED)
def test_states_the_stream(media: Path, name: str) -> None:
    info = probe_video(media / name)
    stated = (info.codec, info.pixel_format, info.display_size_wh, info.rotation_deg, info.frame_count)
    assert stated == STATED[name]
    assert info.size_bytes == (media / name).stat().st_size


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_is_no_video(media: Path, name: str) -> None:
    kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        probe_video(media / name)


@pytest.mark.parametrize("name", LOCATIONS)
def test_reads_the_embedded_position(media: Path, name: str) -> None:
    found = probe_video(media / name).embedded_location
    assert found is not None
    assert (found.lat_deg, found.lon_deg, found.alt_m, found.is_place) == LOCATIONS[name]


def test_reads_times(media: Path) -> None:
    info = probe_video(media / "phone" / "rotated90_israel_iso6709.mov")
    assert info.creation_time == datetime(2019, 7, 24, 8, 25, 57, tzinfo=UTC)
    assert info.apple_creation_date == datetime(2019, 7, 24, 11, 25, 40, tzinfo=timezone(timedelta(hours=3)))
    assert info.tags["com.apple.quicktime.model"] == "iPhone 6"
    assert probe_video(media / "odd" / "test_non_zero_start.mp4").start_time_s == 127995 / 15360


def test_notes_high_dynamic_range_and_a_missing_first_frame(media: Path) -> None:
    assert "PQ" in " ".join(probe_video(media / "odd" / "nasa_13013_hdr.mp4").notes)
    assert "no frame" in " ".join(probe_video(media / "odd" / "header_only.MP4").notes)
    assert probe_video(media / "phone" / "null_island.mp4").notes == ()


def test_missing_folder_and_pipe_are_input_errors(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    for path, message in ((tmp_path / "none.mp4", "does not exist"), (tmp_path, "directory"), (fifo, "regular")):
        with pytest.raises(InputError, match=message):
            probe_video(path)
    with pytest.raises(InputError, match="cannot be read"):
        probe_video(Path("a\0b.mp4"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        probe_video(path)


@pytest.mark.parametrize("content", [os.urandom(100_000), b"hello\n", b"GIF89a" + bytes(100)])
def test_anything_else_is_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match="not a video"):
        probe_video(path)


def _playlists(target: str) -> dict[str, str]:
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    }


@pytest.mark.parametrize("kind", ["hls", "concat", "sdp"])
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts"])
def test_playlists_are_not_followed(tmp_path: Path, steady_mp4: Path, kind: str, suffix: str) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    (tmp_path / "real.mp4").write_bytes(steady_mp4.read_bytes())
    for target in ("real.mp4", f"http://127.0.0.1:{listening.getsockname()[1]}/x.mp4"):
        path = tmp_path / f"evil{suffix}"
        path.write_text(_playlists(target)[kind])
        with pytest.raises(VideoError, match="not a video"):
            probe_video(path)
    with pytest.raises(BlockingIOError):  # nobody called
        listening.accept()
    listening.close()


def test_cover_art_is_no_video(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    cover, path = clips / "cover.png", clips / "song.m4a"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1", cover)
    run_ffmpeg(
        "-f", "lavfi", "-i", "sine=duration=1", "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy",
        "-disposition:v", "attached_pic", path,
    )  # fmt: skip
    with pytest.raises(VideoError, match="no video stream .*a still picture, audio|audio, a still picture"):
        probe_video(path)


def test_unknown_codec_is_a_video_error(steady_mp4: Path, tmp_path: Path) -> None:
    content = steady_mp4.read_bytes()
    assert content.count(b"mp4v") == 1
    path = tmp_path / "unknown.mp4"
    # The object type in the esds box would still name the codec: its tag must go too.
    path.write_bytes(content.replace(b"mp4v", b"zzzz").replace(b"esds", b"zzzz"))
    with pytest.raises(VideoError, match="no installed decoder"):
        probe_video(path)


def test_the_default_stream_comes_before_a_larger_one(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "two.mkv"
    run_ffmpeg(
        "-f", "lavfi", "-i", "color=red:size=32x32:duration=1", "-f", "lavfi", "-i", "color=blue:size=64x48:duration=1",
        "-map", "0", "-map", "1", "-c:v", "mpeg4", path,
    )  # fmt: skip
    info = probe_video(path)
    assert (info.video_stream, info.display_size_wh) == (0, (32, 32))  # as ffmpeg itself chooses
    assert info.time_base == Fraction(1, 1000)
    assert [stream.index for stream in info.other_streams] == [1]
    assert "--stream" in (info.stream_choice or "")
    other = probe_video(path, stream_index=1)
    assert (other.video_stream, other.stream_index, other.display_size_wh) == (1, 1, (64, 48))
    with pytest.raises(UsageError, match=r"--stream 7.*stream 0 .*stream 1"):
        probe_video(path, stream_index=7)


def test_tags_cannot_move_the_cursor(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "tags.mkv"
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=32x32:duration=1", "-c:v", "mpeg4",
        "-metadata", "title=\x1b[2Jgone\nnext", "-metadata", "location=here", "-metadata:s:v", "title=of the stream",
        path,
    )  # fmt: skip
    info = probe_video(path)
    tags = {key.casefold(): value for key, value in info.tags.items()}
    assert tags["title"] == "[2Jgone next"
    assert tags["video:title"] == "of the stream"
    assert info.embedded_location is None
    assert "cannot be read" in " ".join(info.notes)


HOSTILE_NAMES = [
    b"-i x.mp4",
    b"a b.mp4",
    b"[x]*%03d.mp4",
    b"new\nline.mp4",
    b"concat:a|b.mp4",
    b"\xff\xfe.mp4",
    b"http:x",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names(tmp_path: Path, lossless_mov: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    path = Path(os.fsdecode(name))
    monkeypatch.chdir(tmp_path)
    path.write_bytes(lossless_mov.read_bytes())
    assert probe_video(path).frame_count == 5


def test_side_data_that_the_library_does_not_know_is_noted_and_not_fatal() -> None:
    class Frame:
        rotation = 90  # counter-clockwise

        @property
        def side_data(self) -> None:
            raise ValueError("31 is not a valid Type")

    orientation, notes = _orientation(Frame())  # type: ignore[arg-type]
    assert orientation == Orientation(rotation_deg=270)
    assert len(notes) == 1
    assert "31 is not a valid Type" in notes[0]


def test_the_rotation_holds_though_no_frame_is_shown_for_long(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    whole, turned, cut = (clips / f"{name}.mp4" for name in ("long_group", "turned_group", "cut_group"))
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=30", "-c:v", "libx264", "-g", 2000,
               "-preset", "ultrafast", "-sc_threshold", 0, whole)  # fmt: skip
    run_ffmpeg("-display_rotation", 90, "-i", whole, "-c", "copy", turned)
    run_ffmpeg("-ss", 15, "-i", turned, "-c", "copy", cut)  # an edit list hides the first 375 frames
    for path in (turned, cut):
        assert probe_video(path).orientation == Orientation(rotation_deg=270)


def test_the_rotation_of_the_container_holds_against_that_of_a_picture() -> None:
    """An MJPEG picture may have side data that PyAV cannot read, and another turn in its EXIF."""

    class Frame:
        rotation = 180

        @property
        def side_data(self) -> None:
            raise ValueError("31 is not a valid Type")

    a_quarter_clockwise = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    for frame in (Frame(), None):
        assert _orientation(frame, a_quarter_clockwise) == (Orientation(rotation_deg=90), ())  # type: ignore[arg-type]


def test_one_frame_a_tick_is_no_frame_rate(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "tape.dv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=720x480:rate=30000/1001:duration=0.3", "-c:v", "dvvideo",
               "-pix_fmt", "yuv411p", path)  # fmt: skip
    assert probe_video(path).average_frame_rate_fps == pytest.approx(30000 / 1001)


def test_where_a_recording_begins(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    """A creation date is that of the recording, on whose clock the video may begin later."""
    for name, sound, origin_s, start_s in (("late.mov", "aac", 0.0, 3.0), ("late.ts", "mp2", 11.4, 14.4)):
        path = clips / name
        run_ffmpeg("-itsoffset", 3, "-f", "lavfi", "-i", "testsrc2=size=32x32:rate=10:duration=1",
                   "-f", "lavfi", "-i", "sine=duration=4", "-c:v", "mpeg4", "-c:a", sound,
                   "-output_ts_offset", 10 if sound == "mp2" else 0, path)  # fmt: skip
        info = probe_video(path)
        assert (info.origin_s, info.start_time_s) == pytest.approx((origin_s, start_s), abs=0.1)
