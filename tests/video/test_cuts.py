"""Cuts: found where one picture follows another that has nothing to do with it, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.errors import UsageError
from vidtag_cli.video.cuts import CutFinder, differences
from vidtag_cli.video.decode import Frame, VideoDecoder
from vidtag_cli.video.decode_command import THUMBNAIL_WH
from vidtag_cli.video.probe import probe_video

WIDTH, HEIGHT = THUMBNAIL_WH
LEAST_REAL_CUTS = 12


def smooth_noise(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a picture (H, W) of levels whose neighbouring pixels are alike, as in photographs."""
    coarse = np.random.default_rng(seed).uniform(0.0, 255.0, (height // 4 + 2, width // 4 + 2))
    rows = np.array([np.interp(np.arange(width) / 4, np.arange(coarse.shape[1]), row) for row in coarse])
    columns = [np.interp(np.arange(height) / 4, np.arange(len(rows)), column) for column in rows.T]
    return np.array(columns).T


def panning_shot(seed: int, frames: int, step_px: int = 1) -> np.ndarray:
    """Return frames (n, H, W) uint8 of a camera that turns at a steady rate."""
    scene = smooth_noise(seed, WIDTH + frames * step_px)
    return np.array([scene[:, at : at + WIDTH] for at in range(0, frames * step_px, step_px)]).astype(np.uint8)


def shots_of(frames: np.ndarray, at_once: int = 1000) -> list[int]:
    finder = CutFinder()
    for begin in range(0, len(frames), at_once):
        finder.add(frames[begin : begin + at_once])
    finder.finish()
    shots = [finder.shot_of(number) for number in range(len(frames))]
    assert None not in shots
    return [shot for shot in shots if shot is not None]


def edited(*lengths: int, **kwargs: int) -> np.ndarray:
    return np.concatenate([panning_shot(seed, length, **kwargs) for seed, length in enumerate(lengths)])


@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_every_cut_is_found_however_the_frames_arrive(at_once: int) -> None:
    lengths = (20, 2, 30, 5)
    assert shots_of(edited(*lengths), at_once) == [shot for shot, length in enumerate(lengths) for _ in range(length)]


@pytest.mark.parametrize("step_px", [1, 2, 3])
def test_fast_motion_is_no_cut(step_px: int) -> None:
    assert set(shots_of(panning_shot(1, 60, step_px))) == {0}


@pytest.mark.parametrize("light", [0.1, 0.3])
def test_cuts_are_found_at_night(light: float) -> None:
    dark = (edited(12, 12) * light).astype(np.uint8)
    assert shots_of(dark) == [0] * 12 + [1] * 12


@pytest.mark.parametrize("seed", range(5))
def test_noise_in_black_frames_is_no_cut(seed: int) -> None:
    black = np.random.default_rng(seed).integers(0, 3, (200, HEIGHT, WIDTH), dtype=np.uint8)
    assert set(shots_of(black)) == {0}


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length: int) -> None:
    frames = panning_shot(2, 30)
    frames[10 : 10 + length] = np.minimum(frames[10 : 10 + length].astype(int) + 200, 255)
    expected = 1 if length == 1 else 3  # light that stays for two frames cannot be told from a shot of two frames
    assert len(set(shots_of(frames))) == expected


def test_pictures_far_apart_in_time_are_one_shot() -> None:
    """A camera that takes a picture now and then: every step is as large as a cut, and none stands out."""
    album = np.array([smooth_noise(seed) for seed in range(40)]).astype(np.uint8)
    assert np.median(differences(album)) > 1.0
    assert set(shots_of(album)) == {0}


def test_a_shot_is_known_when_the_next_frame_is() -> None:
    finder = CutFinder()
    assert finder.shot_of(0) is None
    frames = edited(3, 3)
    finder.add(frames[:4])  # the last of them begins a shot, if the next one follows it
    assert [finder.shot_of(number) for number in range(4)] == [0, 0, 0, None]
    finder.add(frames[4:5])
    assert [finder.shot_of(3), finder.shot_of(4)] == [1, None]
    finder.add(frames[5:5])
    finder.finish()
    assert [finder.shot_of(4), finder.shot_of(5)] == [1, 1]


def test_shots_between_the_frames_in_use_are_counted() -> None:
    finder = CutFinder()
    finder.add(edited(4, 4, 4, 4))
    assert [finder.shot_of(number) for number in (1, 13)] == [0, 3]


def decode(path: Path, fps: float | None = None, **options: object) -> list[Frame]:
    with VideoDecoder(path, probe_video(path), (16, 12), fps, **options) as decoder:
        return list(decoder)


@pytest.fixture(scope="module")
def edit(clips: Path, run_ffmpeg: Callable[..., bytes]) -> Path:
    """Return a clip of 12 frames a second: 30 frames of one scene, 18 of another, 30 of a third."""
    sources = ("testsrc2=size=96x64:rate=12", "mandelbrot=size=96x64:rate=12", "smptehdbars=size=96x64:rate=12")
    inputs = [argument for source in sources for argument in ("-f", "lavfi", "-i", source)]
    cuts = ";".join(f"[{n}]trim=end_frame={count},setsar=1[s{n}]" for n, count in enumerate((30, 18, 30)))
    path = clips / "edit.mp4"
    run_ffmpeg(*inputs, "-filter_complex", f"{cuts};[s0][s1][s2]concat=n=3", "-pix_fmt", "yuv420p", path)
    return path


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("fps", [None, 4.0, 1.0])
def test_frames_of_a_video_know_their_shot(edit: Path, fps: float | None, mode: str) -> None:
    frames = decode(edit, fps, mode=mode, find_cuts=True)
    expected = [int(frame.source_index >= 30) + int(frame.source_index >= 48) for frame in frames]
    assert [frame.shot for frame in frames] == expected
    assert expected[-1] == 2


@pytest.mark.parametrize(
    "name",
    [
        "odd/no_initial_keyframe.ts", "odd/testsrc2_av1_10bit.mp4", "odd/truncated.mp4", "odd/vfr_5ms_to_1570ms.mp4",
        "odd/testsrc2_odd_height_and_width_444_10bit.mp4", "phone/rotated90_hunan_location.mp4",
    ],
)  # fmt: skip
def test_looking_for_cuts_changes_nothing_else(media: Path, name: str) -> None:
    plain, searched = decode(media / name), decode(media / name, find_cuts=True)
    assert [(frame.source_index, frame.media_time_s) for frame in plain] == [
        (frame.source_index, frame.media_time_s) for frame in searched
    ]
    assert all(np.array_equal(one.rgb, other.rgb) for one, other in zip(plain, searched, strict=True))


@pytest.mark.parametrize(
    "name",
    [
        "street/california_freeway_dashcam.mp4", "street/london_euston_hevc_vfr.mp4", "street/lund_walk_29f_1fps.mp4",
        "phone/thermal gaps 2s.mp4", "phone/rotated90_israel_iso6709.mov", "gps/gopro_hero8_no_lock.mp4",
        "odd/truncated.mp4", "odd/vfr_5ms_to_1570ms.mp4",
    ],
)  # fmt: skip
def test_real_shots_are_whole(media: Path, name: str) -> None:
    assert {frame.shot for frame in decode(media / name, find_cuts=True)} == {0}


@pytest.mark.parametrize("look", ["null", "eq=contrast=0.3:brightness=-0.3,noise=alls=8:allf=t:all_seed=1"])
@pytest.mark.parametrize("rate_fps", [10, 30])
def test_cuts_between_real_shots_are_found(
    media: Path, run_ffmpeg: Callable[..., bytes], tmp_path: Path, rate_fps: int, look: str
) -> None:
    """By day and by night, every half second or so, between clips that move."""
    names = (
        "street/california_freeway_dashcam.mp4", "gps/gopro_max_carlsbad.mp4", "street/london_euston_hevc_vfr.mp4",
        "phone/rotated90_israel_iso6709.mov", "gps/gopro_hero8_no_lock.mp4", "phone/thermal gaps 2s.mp4",
        "phone/rotated90_hunan_location.mp4",
    )  # fmt: skip
    order = [*range(len(names)), 1, 0, 3, 2, 5, 4, 6]
    length = rate_fps // 2
    inputs = [argument for number in order for argument in ("-i", media / names[number])]
    parts = ";".join(
        f"[{n}:v:0]fps={rate_fps},scale=320:180,format=yuv420p,trim=end_frame={length},setsar=1,setpts=N/{rate_fps}/TB[s{n}]"
        for n in range(len(order))
    )
    joined = "".join(f"[s{n}]" for n in range(len(order)))
    path = tmp_path / "edit.mp4"
    run_ffmpeg(*inputs, "-filter_complex", f"{parts};{joined}concat=n={len(order)},{look}", "-r", rate_fps, path)
    shots = [frame.shot for frame in decode(path, find_cuts=True)]
    begins = [number for number in range(1, len(shots)) if shots[number] != shots[number - 1]]
    assert len(begins) >= LEAST_REAL_CUTS
    assert begins == [length * n for n in range(1, len(order))]


def test_key_frames_alone_have_no_cuts(edit: Path) -> None:
    with pytest.raises(UsageError, match="key frames are too far apart to find cuts"):
        decode(edit, mode="keyframes", find_cuts=True)
