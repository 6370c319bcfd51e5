from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from vidtag_cli.errors import ModelError, UsageError, VideoError
from vidtag_cli.video.decode import Frame, VideoDecoder
from vidtag_cli.video.probe import probe_video

# path: frames that can be decoded, frames in use, and whether there is reason to complain
DECODED = {
    "gps/gopro_hero5_carlsbad.mp4": (48, 48, False),
    "gps/gopro_hero8_no_lock.mp4": (60, 60, False),
    "gps/gopro_max_carlsbad.mp4": (315, 315, False),
    "street/lund_walk_29f_1fps.mp4": (29, 29, False),
    "street/london_euston_hevc_vfr.mp4": (146, 145, True),  # after the frame at 7007 ticks comes one at 4505
    "street/california_freeway_dashcam.mp4": (221, 221, False),
    "phone/rotated90_hunan_location.mp4": (32, 32, False),
    "phone/rotated90_israel_iso6709.mov": (120, 120, False),
    "phone/null_island.mp4": (39, 39, False),
    "phone/thermal gaps 2s.mp4": (84, 84, False),
    "odd/vfr_5ms_to_1570ms.mp4": (63, 63, False),
    "odd/truncated.mp4": (6, 6, True),
    "odd/no_initial_keyframe.ts": (15, 15, True),
    "odd/edit_list.mp4": (225, 225, False),
    "odd/nasa_13013_rotated.mp4": (17, 17, False),
    "odd/nasa_13013_hdr.mp4": (325, 325, False),
    "odd/testsrc2_av1_10bit.mp4": (25, 25, False),
    "odd/testsrc2_odd_height_and_width_444_10bit.mp4": (25, 25, False),
    "odd/test_non_zero_start.mp4": (12, 12, False),
}
TINY_WH = (16, 12)
ROOT = Path(__file__).resolve().parents[2]

MATROSKA_ROUNDING_S = 0.001
PIL_MEAN_LEVELS = 0.5  # measured 0.2 to 0.4; swscale's bicubic is a little sharper (C = 0.6 against 0.5)
SAME_CUT_MEAN_LEVELS = 0.5  # smooth pictures: half a pixel beside them is one level and more
COLOUR_LEVELS = 2  # eight bits of YUV, of limited range, tell colours apart no better
SAME_TURN_MEAN_LEVELS = 0.5  # the same filters in the same order: only rounding of chroma may differ


def decode(path: Path, size_wh: tuple[int, int] = TINY_WH, fps: float | None = None, **options: object) -> list[Frame]:
    with VideoDecoder(path, probe_video(path), size_wh, fps, **options) as decoder:
        return list(decoder)


def times_s(frames: list[Frame]) -> list[float]:
    return [frame.media_time_s for frame in frames]


def packet_times_s(path: Path) -> list[float]:
    """Return the sorted presentation times of the packets, which PyAV reads without decoding anything."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard]
        return sorted(float(packet.pts * stream.time_base) for packet in packets)


def sampled(times: list[float], fps: float) -> list[float]:
    """Return the first time at or after each multiple of 1/fps from the first one, the slow and obvious way."""
    chosen = []
    multiples = np.arange(int((times[-1] - times[0]) * fps) + 2) / fps
    for multiple in multiples:
        later = [time for time in times if time - times[0] >= multiple - MATROSKA_ROUNDING_S]
        chosen += later[:1]
    return sorted(set(chosen))


def rgb24(frames: list[Frame]) -> np.ndarray:
    return np.stack([frame.rgb for frame in frames])


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.mark.parametrize("name", DECODED)
def test_every_clip_gives_its_frames_at_their_true_times(media: Path, name: str) -> None:
    decoded, used, has_errors = DECODED[name]
    path = media / name
    with VideoDecoder(path, probe_video(path), TINY_WH) as decoder:
        frames = list(decoder)
    assert (len(frames), decoder.frames_used, decoder.frames_decoded) == (used, used, decoded)
    assert bool(decoder.errors) == has_errors
    assert all(frame.rgb.shape == (12, 16, 3) and frame.rgb.dtype == np.uint8 for frame in frames)
    assert [frame.index for frame in frames] == list(range(used))
    times = times_s(frames)
    assert times == sorted(set(times))
    expected = packet_times_s(path)
    if has_errors:
        assert set(times) <= set(expected)
    else:
        assert times == expected
        assert all(frame.source_index == frame.index for frame in frames)


@pytest.mark.parametrize("fps", [1.0, 5.0, 0.3])
@pytest.mark.parametrize("name", ["odd/vfr_5ms_to_1570ms.mp4", "odd/test_non_zero_start.mp4", "odd/nasa_13013_hdr.mp4"])
def test_samples_the_first_frame_of_each_step(media: Path, name: str, fps: float) -> None:
    path = media / name
    with VideoDecoder(path, probe_video(path), TINY_WH, fps) as decoder:
        frames = list(decoder)
    everything = packet_times_s(path)
    assert times_s(frames) == sampled(everything, fps)
    assert [everything[frame.source_index] for frame in frames] == times_s(frames)
    assert decoder.frames_decoded == len(everything)


def test_sampled_frames_are_those_of_the_full_decode(steady_mp4: Path) -> None:
    everything, some = decode(steady_mp4), decode(steady_mp4, fps=2)
    assert len(everything) == 500
    assert len(some) == 40
    assert all(np.array_equal(frame.rgb, everything[frame.source_index].rgb) for frame in some)


def test_sampling_at_the_rate_of_a_matroska_file_takes_every_frame(
    clips: Path, run_ffmpeg: Callable[..., bytes]
) -> None:
    path = clips / "24.mkv"  # times rounded to 1 ms fall just short of every third multiple of 1/24 s
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=24:duration=2", "-c:v", "mpeg4", path)
    assert len(decode(path, fps=24)) == 48


def test_sampling_faster_than_the_video_repeats_nothing(lossless_mov: Path) -> None:
    assert times_s(decode(lossless_mov, fps=50)) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    "name",
    ["phone/rotated90_hunan_location.mp4", "phone/rotated90_israel_iso6709.mov", "odd/nasa_13013_rotated.mp4"],
)
def test_turns_real_clips_as_ffmpeg_itself_would(media: Path, run_ffmpeg: Callable[..., bytes], name: str) -> None:
    path = media / name
    ours = decode(path, (72, 128), fps=0.5)[0].rgb
    scaling = "scale=72:128:flags=bicubic+accurate_rnd+full_chroma_int,format=rgb24"
    raw = run_ffmpeg("-i", path, "-frames:v", 1, "-vf", scaling, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
    theirs = np.frombuffer(raw, np.uint8).reshape(128, 72, 3)
    assert mean_difference(ours, theirs) < SAME_TURN_MEAN_LEVELS
    assert mean_difference(ours[::-1, ::-1], theirs) > 10 * SAME_TURN_MEAN_LEVELS


def _with_display_matrix(content: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """Return a MOV whose track header (version 0) asks for another turn."""
    start = content.index(b"tkhd") + 4 + 40
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    return content[:start] + matrix + content[start + len(matrix) :]


def _shown(stored: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Return the stored picture with each pixel carried to where the matrix puts it, one by one."""
    height, width, _ = stored.shape
    rows, columns = np.mgrid[0:height, 0:width]
    x, y = a * columns + c * rows, b * columns + d * rows
    x, y = x - x.min(), y - y.min()
    shown = np.empty((y.max() + 1, x.max() + 1, 3), np.uint8)
    shown[y, x] = stored
    return shown


@pytest.mark.parametrize(
    "abcd",
    [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)],
)
def test_turns_and_mirrors_before_anything_else(
    lossless_mov: Path, tmp_path: Path, abcd: tuple[int, int, int, int]
) -> None:
    stored = decode(lossless_mov, (64, 48), fps=1)[0].rgb
    turned = tmp_path / "turned.mov"
    turned.write_bytes(_with_display_matrix(lossless_mov.read_bytes(), *abcd))
    expected = _shown(stored, *abcd)
    info = probe_video(turned)
    assert info.display_size_wh == (expected.shape[1], expected.shape[0])
    assert np.array_equal(decode(turned, info.display_size_wh, fps=1)[0].rgb, expected)


def test_pixels_at_native_size_are_those_of_pyav(lossless_mov: Path) -> None:
    with av.open(str(lossless_mov)) as container:
        theirs = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.array_equal(rgb24(decode(lossless_mov, (64, 48))), theirs)


@pytest.mark.parametrize("name", ["gps/gopro_hero5_carlsbad.mp4", "odd/testsrc2_odd_height_and_width_444_10bit.mp4"])
def test_squash_is_close_to_pil_bicubic(media: Path, name: str) -> None:
    path = media / name
    size_wh = probe_video(path).display_size_wh
    full, small = decode(path, size_wh, fps=0.1)[0].rgb, decode(path, (224, 224), fps=0.1)[0].rgb
    reference = np.asarray(Image.fromarray(full).resize((224, 224), Image.Resampling.BICUBIC))
    assert mean_difference(small, reference) < PIL_MEAN_LEVELS


def test_center_crop_cuts_the_long_side(lossless_mov: Path) -> None:
    full = decode(lossless_mov, (64, 48))[0].rgb
    assert np.array_equal(decode(lossless_mov, (48, 48), resize="center_crop")[0].rgb, full[:, 8:56])
    assert np.array_equal(decode(lossless_mov, (64, 24), resize="center_crop")[0].rgb, full[12:36])


def clip_processor(rgb: np.ndarray, side_px: int) -> np.ndarray:
    """Return the picture as CLIP's processor in transformers makes it: both of its roundings are down."""
    height, width, _ = rgb.shape
    short = min(width, height)
    size = (side_px * width // short, side_px * height // short)
    resized = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))
    left, top = (size[0] - side_px) // 2, (size[1] - side_px) // 2
    return resized[top : top + side_px, left : left + side_px]


@pytest.mark.parametrize("name", [
    "gps/gopro_hero5_carlsbad.mp4", "street/london_euston_hevc_vfr.mp4", "phone/rotated90_israel_iso6709.mov",
    "odd/nasa_13013_rotated.mp4",
])  # fmt: skip
def test_center_crop_is_close_to_clips_processor(media: Path, name: str) -> None:
    """None of these shapes comes out whole: cut before it is scaled, a picture is off by up to 0.7 pixels."""
    path = media / name
    full = decode(path, probe_video(path).display_size_wh, fps=0.1)[0].rgb
    cut = decode(path, (224, 224), fps=0.1, resize="center_crop")[0].rgb
    assert mean_difference(cut, clip_processor(full, 224)) < PIL_MEAN_LEVELS


@pytest.mark.parametrize("size_wh", [(150, 205), (205, 150), (151, 152), (97, 600)])
def test_center_crop_of_any_shape_is_placed_as_by_clips_processor(
    clips: Path, run_ffmpeg: Callable[..., bytes], size_wh: tuple[int, int]
) -> None:
    width, height = size_wh
    path = clips / f"smooth_{width}x{height}.mov"
    # Ramps and waves show where the picture was cut, and are too smooth for one bicubic to differ from another.
    ramp = f"nullsrc=size={width}x{height}:rate=1:duration=1,format=gbrp,geq=r=255*X/W:g=255*Y/H:b=100+30*sin(X/9+Y/7)"
    run_ffmpeg("-f", "lavfi", "-i", ramp, "-pix_fmt", "rgb24", "-c:v", "png", path)
    full = decode(path, size_wh)[0].rgb
    cut = decode(path, (56, 56), resize="center_crop")[0].rgb
    assert mean_difference(cut, clip_processor(full, 56)) < SAME_CUT_MEAN_LEVELS


def test_a_strip_is_cut_before_it_is_scaled(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "strip.mov"
    ramp = "nullsrc=size=16x4000:rate=1:duration=1,format=gbrp,geq=r=255*X/W:g=255*Y/H:b=100"
    run_ffmpeg("-f", "lavfi", "-i", ramp, "-pix_fmt", "rgb24", "-c:v", "png", path)
    cut = decode(path, (56, 56), resize="center_crop")[0].rgb
    middle = decode(path, (16, 4000))[0].rgb[1992:2008]
    expected = np.asarray(Image.fromarray(middle).resize((56, 56), Image.Resampling.BICUBIC))
    assert mean_difference(cut, expected) < SAME_CUT_MEAN_LEVELS


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt2020nc"])
@pytest.mark.parametrize("levels", ["tv", "pc"])
def test_colours_are_those_that_the_stream_states(
    clips: Path, run_ffmpeg: Callable[..., bytes], matrix: str, levels: str
) -> None:
    path, stored = clips / f"{matrix}_{levels}.mkv", "bt2020" if matrix == "bt2020nc" else matrix
    to_yuv = f"scale=out_color_matrix={stored}:out_range={levels}:flags=accurate_rnd,format=yuv444p"
    source = "color=c=0xC83C1E:size=64x48:rate=1:duration=1,format=rgb24"
    run_ffmpeg("-f", "lavfi", "-i", source, "-vf", to_yuv, "-colorspace", matrix, "-color_range", levels,
               "-c:v", "ffv1", path)  # fmt: skip
    for resize in ("squash", "center_crop"):
        rgb = decode(path, (24, 24), resize=resize)[0].rgb
        assert np.abs(rgb.astype(int) - [0xC8, 0x3C, 0x1E]).max() <= COLOUR_LEVELS


def test_center_crop_goes_by_the_shape_that_is_shown(
    clips: Path, lossless_mov: Path, run_ffmpeg: Callable[..., bytes]
) -> None:
    wide = clips / "wide_pixels.mov"  # 64 x 48 pixels, each twice as wide as high, are shown 128 x 48
    run_ffmpeg("-i", lossless_mov, "-vf", "setsar=2", "-c:v", "png", wide)
    info = probe_video(wide)
    assert info.sample_aspect_ratio == Fraction(2)
    middle = decode(lossless_mov, (64, 48))[0].rgb[:, 20:44]
    with VideoDecoder(wide, info, (24, 48), resize="center_crop") as decoder:
        narrow = next(iter(decoder)).rgb
    # A third of the width shows 24 stored columns on 48; asked for half as wide, the cut is 12 columns on 24.
    expected = Image.fromarray(middle[:, 6:18]).resize((24, 48), Image.Resampling.BICUBIC)
    assert mean_difference(narrow, np.asarray(expected)) < 4 * PIL_MEAN_LEVELS  # enlarged from 12 columns with edges


def test_two_runs_give_the_same_pixels(media: Path) -> None:
    path = media / "odd" / "no_initial_keyframe.ts"
    with VideoDecoder(path, probe_video(path), TINY_WH) as one, VideoDecoder(path, probe_video(path), TINY_WH) as other:
        assert np.array_equal(rgb24(list(one)), rgb24(list(other)))
    assert one.errors == other.errors
    assert "0x" not in " ".join(one.errors)


def test_header_without_frames_is_a_video_error(media: Path) -> None:
    with pytest.raises(VideoError, match=r"header_only.*no frame could be decoded"):
        decode(media / "odd" / "header_only.MP4")


def test_a_file_cut_short_keeps_what_it_has(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    whole, cut = clips / "whole.mkv", clips / "cut.mkv"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=4", "-c:v", "mjpeg", whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    with VideoDecoder(cut, probe_video(cut), TINY_WH) as decoder:
        frames = list(decoder)
    assert 10 < len(frames) < 30
    assert decoder.error_count > 0


def test_playlist_is_refused_by_ffmpeg_too(tmp_path: Path, steady_mp4: Path) -> None:
    info = probe_video(steady_mp4)
    evil = tmp_path / "evil.mp4"
    evil.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\n{steady_mp4}\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError, match="no frame could be decoded"), VideoDecoder(evil, info, TINY_WH) as decoder:
        list(decoder)


def _transport_stream(run_ffmpeg: Callable[..., bytes], size: str, offset_s: float) -> bytes:
    source = f"testsrc2=size={size}:rate=10:duration=1"
    return run_ffmpeg(
        "-f", "lavfi", "-i", source, "-c:v", "mpeg2video", "-bf", 0,
        "-output_ts_offset", offset_s, "-f", "mpegts", "pipe:1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.vob", "mpeg2video"), ("x.avi", "mpeg4"), ("x.mxf", "mpeg2video"), ("x.wmv", "wmv2"), ("x.flv", "flv")],
)
def test_other_containers_give_all_frames_a_step_apart(
    clips: Path, run_ffmpeg: Callable[..., bytes], name: str, codec: str
) -> None:
    path = clips / name
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.6", "-c:v", codec, path)
    times = np.array(times_s(decode(path)))
    assert len(times) == 15
    assert np.diff(times) == pytest.approx(0.04, abs=MATROSKA_ROUNDING_S)


@pytest.mark.parametrize("find_cuts", [False, True])
def test_a_change_of_size_on_the_way(clips: Path, run_ffmpeg: Callable[..., bytes], find_cuts: bool) -> None:
    path = clips / "sizes.ts"
    path.write_bytes(_transport_stream(run_ffmpeg, "64x48", 0) + _transport_stream(run_ffmpeg, "96x64", 3))
    with VideoDecoder(path, probe_video(path), TINY_WH, find_cuts=find_cuts) as decoder:
        frames = list(decoder)
    # The decoder of MPEG-2 gives up the last frame before the change.
    assert decoder.frames_decoded == len(frames) == 19
    assert decoder.errors == ()
    assert frames[-1].media_time_s - frames[0].media_time_s == pytest.approx(3.8)


@pytest.mark.parametrize(
    "name", [b"-i x.mov", b"a b.mov", b"[x]*%03d.mov", b"new\nline.mov", b"concat:a|b", b"\xff'\\.mov"]
)
def test_hostile_names(tmp_path: Path, lossless_mov: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    path.write_bytes(lossless_mov.read_bytes())
    assert len(decode(path)) == 5


READ_LOOP = """
import os, sys
from pathlib import Path
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.probe import probe_video

def line():
    text = b""
    while (character := os.read(0, 1)) not in (b"", b"\\n"):
        text += character
    return text.decode()

while name := line():
    with VideoDecoder(Path(name), probe_video(Path(name)), (16, 12), 5.0) as decoder:
        print(name, len(list(decoder)))
"""


def test_the_caller_keeps_its_standard_input(lossless_mov: Path) -> None:
    """The Python of ``while read f; do vidtag locate "$f"; done < list``: ffmpeg must not eat from the list."""
    names = f"{lossless_mov}\n" * 3
    done = subprocess.run(
        [sys.executable, "-c", READ_LOOP], input=names, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == f"{lossless_mov} 5\n" * 3
    assert done.stderr == ""


def test_leaving_early_leaves_no_process(steady_mp4: Path) -> None:
    info, before = probe_video(steady_mp4), children()
    with VideoDecoder(steady_mp4, info, (224, 224)) as decoder:
        frames = iter(decoder)
        next(frames)
        assert children() > before
    assert children() == before
    assert list(frames) == []
    for frame in VideoDecoder(steady_mp4, info, (224, 224)):  # without a with block
        assert frame.index == 0
        break
    assert children() == before


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_exception_leaves_no_process(steady_mp4: Path, interruption: type[BaseException]) -> None:
    info, before = probe_video(steady_mp4), children()
    with pytest.raises(interruption), VideoDecoder(steady_mp4, info, (224, 224)) as decoder:
        for _ in decoder:
            raise interruption
    assert children() == before


def test_open_files_do_not_pile_up(lossless_mov: Path) -> None:
    info = probe_video(lossless_mov)
    before = psutil.Process().num_fds()
    for _ in range(3):
        with VideoDecoder(lossless_mov, info, TINY_WH) as decoder:
            list(decoder)
    assert psutil.Process().num_fds() == before


def test_frames_are_read_once(lossless_mov: Path) -> None:
    with VideoDecoder(lossless_mov, probe_video(lossless_mov), TINY_WH) as decoder:
        list(decoder)
        with pytest.raises(ValueError, match="once"):
            iter(decoder)


def test_refuses_options_that_make_no_sense(lossless_mov: Path) -> None:
    info = probe_video(lossless_mov)
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="sampling rate"):
            VideoDecoder(lossless_mov, info, TINY_WH, fps)
    with pytest.raises(ValueError, match="out of range"):
        VideoDecoder(lossless_mov, info, (0, 12))
    with pytest.raises(ValueError, match="out of range"):
        VideoDecoder(lossless_mov, info, TINY_WH, resize="stretch")
    with pytest.raises(UsageError, match="gpu: unknown device for decoding"):
        VideoDecoder(lossless_mov, info, TINY_WH, device="gpu")


def test_times_count_in_the_time_base_of_the_container(lossless_mov: Path) -> None:
    info = probe_video(lossless_mov)
    with VideoDecoder(lossless_mov, replace(info, time_base=Fraction(1, 7)), TINY_WH) as decoder:
        coarse = times_s(list(decoder))
    assert all(float(time * 7).is_integer() for time in coarse)  # ffmpeg was told the tick and rounded to it


@pytest.fixture(scope="module")
def two_kinds_mp4(clips: Path, run_ffmpeg: Callable[..., bytes]) -> Path:
    """Return a clip of 4 s at 25 fps with a key frame every second and frames that no other needs between them."""
    path = clips / "kinds.mp4"
    run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=4", "-c:v", "libx264", "-g", 25,
        "-keyint_min", 25, "-sc_threshold", 0, "-x264-params", "b-adapt=0:bframes=2:b-pyramid=none", path,
    )  # fmt: skip
    return path


def test_key_frames_are_told_by_their_own_time_and_number(two_kinds_mp4: Path) -> None:
    everything = decode(two_kinds_mp4)
    for fps in (None, 1.0, 5.0):  # there is one a second, whatever is asked for
        keys = decode(two_kinds_mp4, fps=fps, mode="keyframes")
        assert [frame.source_index for frame in keys] == [0, 25, 50, 75]
        assert [frame.index for frame in keys] == [0, 1, 2, 3]
        for frame in keys:
            assert frame.media_time_s == everything[frame.source_index].media_time_s
            assert np.array_equal(frame.rgb, everything[frame.source_index].rgb)
    assert [frame.source_index for frame in decode(two_kinds_mp4, fps=0.5, mode="keyframes")] == [0, 50]


def test_fast_mode_leaves_out_frames_and_changes_none(two_kinds_mp4: Path) -> None:
    everything = decode(two_kinds_mp4)
    with VideoDecoder(two_kinds_mp4, probe_video(two_kinds_mp4), TINY_WH, mode="fast") as decoder:
        fast = list(decoder)
    assert decoder.frames_decoded == len(fast) < 0.6 * len(everything)
    for frame in fast:
        assert frame.media_time_s == everything[frame.source_index].media_time_s
        assert np.array_equal(frame.rgb, everything[frame.source_index].rgb)
    sparse = decode(two_kinds_mp4, fps=5, mode="fast")
    assert times_s(sparse) == sampled(times_s(fast), 5)


@pytest.mark.parametrize("name", ["odd/test_non_zero_start.mp4", "odd/nasa_13013_hdr.mp4", "odd/edit_list.mp4"])
def test_key_frames_of_real_clips_are_those_of_the_full_decode(media: Path, name: str) -> None:
    everything = decode(media / name)
    keys = decode(media / name, mode="keyframes")
    assert 0 < len(keys) < len(everything)
    for frame in keys:
        assert frame.media_time_s == everything[frame.source_index].media_time_s
        assert np.array_equal(frame.rgb, everything[frame.source_index].rgb)


def test_a_missing_graphics_card_is_an_error_and_not_the_cpu(
    two_kinds_mp4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also where there is one
    with pytest.raises(ModelError, match=r"cannot decode h264 .*on cuda.*nothing was decoded on the CPU"):
        decode(two_kinds_mp4, fps=1, device="cuda")
