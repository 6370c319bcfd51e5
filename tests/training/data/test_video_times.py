"""Times found without decoding are those of the decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from real_media import RealMedia
from synthetic_video import write_video

from training.data.video_times import read_video_times, sampled_frames
from vidtag_cli.errors import InputError, VideoError
from vidtag_cli.video import VideoDecoder, probe_video

CLIPS = [
    "gps/gopro_hero5_carlsbad.mp4",
    "odd/edit_list.mp4",
    "odd/test_non_zero_start.mp4",
    "odd/truncated.mp4",
]


def decoded_times_s(path: Path, fps: float | None) -> list[float]:
    with VideoDecoder(path, probe_video(path), (8, 8), fps) as decoder:
        return [frame.media_time_s for frame in decoder]


@pytest.mark.parametrize("name", CLIPS)
def test_times_of_real_clips(media: RealMedia, name: str) -> None:
    times_s = read_video_times(media / name).media_time_s
    assert times_s.tolist() == decoded_times_s(media / name, None)


@pytest.mark.parametrize("fps", [0.5, 1.0, 3.0, 7.0, 100.0])
def test_sampling_takes_the_frames_that_the_decoder_takes(tmp_path: Path, fps: float) -> None:
    path = write_video(tmp_path / "clip.mkv", 6.0, fps=12, size="32x32")  # Matroska rounds times to milliseconds
    times_s = read_video_times(path).media_time_s
    assert times_s[sampled_frames(times_s, fps)].tolist() == decoded_times_s(path, fps)


@pytest.mark.parametrize("fps", [None, 2.0])
def test_sampling_of_a_variable_rate(media: RealMedia, fps: float | None) -> None:
    path = media / "phone/thermal gaps 2s.mp4"
    times_s = read_video_times(path).media_time_s
    assert times_s[sampled_frames(times_s, fps)].tolist() == decoded_times_s(path, fps)


def test_no_frames_give_no_samples() -> None:
    assert len(sampled_frames(np.array([]), 1.0)) == 0


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"clip\.mp4"):
        read_video_times(path)
    with pytest.raises(InputError, match="does not exist"):
        read_video_times(tmp_path / "absent.mp4")
