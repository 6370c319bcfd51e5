from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.probe import probe_video
from vidtag_cli.video.sampling import SamplingGrid


def test_the_first_frame_of_each_step_is_used() -> None:
    grid = SamplingGrid(2.0, 1000, Fraction(1, 1000))
    assert [pts for pts in range(1000, 3000, 40) if grid.is_used(pts)] == [1000, 1520, 2000, 2520]
    assert not grid.is_used(2530)
    assert grid.is_used(4999)  # 1 ms early, as Matroska may round it


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
@pytest.mark.parametrize("find_cuts", [False, True])
def test_the_steps_go_on_where_pictures_change_their_size(
    clips: Path, run_ffmpeg: Callable[..., bytes], resize: str, find_cuts: bool
) -> None:
    path = clips / f"sizes_{resize}_{find_cuts}.ts"
    pieces = []
    for number in range(10):
        source = f"testsrc2=size={'64x48' if number % 2 else '96x64'}:rate=10:duration=0.4"
        pieces.append(run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-bf", 0,
                                 "-output_ts_offset", 0.4 * number, "-f", "mpegts", "pipe:1"))  # fmt: skip
    path.write_bytes(b"".join(pieces))
    with VideoDecoder(path, probe_video(path), (8, 6), 1.0, resize=resize, find_cuts=find_cuts) as decoder:
        frames = list(decoder)
    assert decoder.frames_decoded == 40
    assert [frame.media_time_s for frame in frames] == pytest.approx([1.4, 2.4, 3.4, 4.4], abs=1e-6)
    assert [frame.source_index for frame in frames] == [0, 10, 20, 30]


def test_steps_count_from_the_first_frame_that_can_be_decoded(media: Path) -> None:
    path = media / "odd" / "no_initial_keyframe.ts"
    with VideoDecoder(path, probe_video(path), (8, 6)) as decoder:
        everything = [frame.media_time_s for frame in decoder]
    with VideoDecoder(path, probe_video(path), (8, 6), 4.0) as decoder:
        sampled = [frame.media_time_s for frame in decoder]
    expected = []
    for step in range(int((everything[-1] - everything[0]) * 4) + 1):
        expected += [time for time in everything if time - everything[0] >= step / 4 - 0.001][:1]
    assert sampled == sorted(set(expected))
