"""Pixels for training are the pixels of the runtime, from images and from videos."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from data_trees import write_image
from PIL import Image, ImageOps
from synthetic_video import write_video

from training.data.frames import iterate_frames, read_frames, read_still
from training.data.sample import FrameSource, Sample
from training.data.video_times import read_video_times
from vidtag_cli.errors import InputError, VideoError
from vidtag_cli.video import VideoDecoder, probe_video
from vidtag_cli.video.ffmpeg import find_ffmpeg

SIDE_PX = 56
PIL_MEAN_LEVELS = 1.5
"""As in the tests of the decoder: swscale's bicubic is a little sharper than PIL's."""


def sample_of(*frames: FrameSource) -> Sample:
    count = len(frames)
    return Sample("test/one", "one", "test", frames, np.zeros((count, 2)), np.arange(count, dtype=np.float64))


def runtime_frames(path: Path, side_px: int = SIDE_PX) -> dict[float, np.ndarray]:
    with VideoDecoder(path, probe_video(path), (side_px, side_px)) as decoder:
        return {frame.media_time_s: frame.rgb for frame in decoder}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", 4.0, fps=5, size="128x96")


@pytest.mark.parametrize(
    ("name", "size_wh", "options"),
    [
        ("street.jpg", (640, 480), {"quality": 92}),
        ("full_chroma.jpg", (320, 240), {"quality": 80, "subsampling": 0}),
        ("odd.jpg", (321, 239), {"quality": 92}),
        ("small.jpg", (32, 24), {"quality": 92}),  # is enlarged
        ("lossless.png", (320, 240), {}),
    ],
)
def test_image_has_the_pixels_of_the_same_image_as_a_frame(
    tmp_path: Path, name: str, size_wh: tuple[int, int], options: dict[str, int]
) -> None:
    path = write_image(tmp_path / name, 1, size_wh)
    Image.open(path).save(path, **options)
    film = tmp_path / "film.mkv"  # the same compressed picture, not encoded again
    command = [str(find_ffmpeg().path), "-nostdin", "-v", "error", "-i", str(path), "-c", "copy", str(film)]
    subprocess.run(command, check=True)
    (expected,) = runtime_frames(film).values()
    assert np.array_equal(read_still(path, SIDE_PX), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_is_shown_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    image = Image.open(write_image(tmp_path / "plain.png", 2, (96, 64)))
    exif = image.getexif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    image.save(path, exif=exif, quality=95, subsampling=0)
    turned = ImageOps.exif_transpose(Image.open(path)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    assert np.abs(read_still(path, SIDE_PX).astype(int) - np.asarray(turned)).mean() < PIL_MEAN_LEVELS


def test_grey_image_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((20, 20), 77, np.uint8)).save(path)
    assert np.all(read_still(path, 8) == 77)


def test_image_with_a_sign_of_a_series_in_its_name_is_one_image(tmp_path: Path) -> None:
    assert read_still(write_image(tmp_path / "100%d_[a].jpg"), 8).shape == (8, 8, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0" + bytes(64), b"GIF89a" + bytes(64)])
def test_what_is_no_image_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.jpg"):
        read_still(path, 8)


def test_missing_image_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.jpg"):
        read_frames(sample_of(FrameSource(tmp_path / "absent.jpg")), [0], 8)


def test_frames_of_a_video_are_those_of_the_runtime(video: Path) -> None:
    expected = runtime_frames(video)
    times_s = read_video_times(video).media_time_s
    sample = sample_of(*(FrameSource(video, float(value)) for value in times_s))
    frames = read_frames(sample, [17, 2, 2, 9], SIDE_PX)
    assert frames.dtype == np.uint8
    for index, rgb in zip([17, 2, 2, 9], frames, strict=True):
        assert np.array_equal(rgb, expected[times_s[index]])


def test_images_and_videos_may_follow_each_other(video: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "still.jpg")
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(video.read_bytes())
    sample = sample_of(
        FrameSource(video, 0.2), FrameSource(image), FrameSource(video, 0.4), FrameSource(copy, 0.6), FrameSource(image)
    )
    found = dict(iterate_frames(sample, range(5), SIDE_PX))
    expected = runtime_frames(video)
    assert list(found) == [0, 1, 2, 3, 4]
    assert np.array_equal(found[0], expected[0.2])
    assert np.array_equal(found[3], expected[0.6])
    assert np.array_equal(found[1], found[4])


def test_frame_that_is_not_there_is_a_video_error(video: Path) -> None:
    for time_s in (0.3, 99.0):  # between two frames, and past the last
        with pytest.raises(VideoError, match=rf"frame at {time_s:.3f} s cannot be decoded"):
            read_frames(sample_of(FrameSource(video, 0.0), FrameSource(video, time_s)), [0, 1], SIDE_PX)


def test_no_frames_are_no_frames(video: Path) -> None:
    assert read_frames(sample_of(FrameSource(video, 0.0)), [], 8).shape == (0, 8, 8, 3)
