from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.video.batches import frame_batches, spread_levels, stacked
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.probe import probe_video

SIZE_WH = (16, 12)


@pytest.mark.parametrize("block_frames", [1, 2, 5])
def test_batches_hold_the_frames_in_order(lossless_mov: Path, block_frames: int) -> None:
    info = probe_video(lossless_mov)
    with VideoDecoder(lossless_mov, info, SIZE_WH) as decoder:
        frames = list(decoder)
    with VideoDecoder(lossless_mov, info, SIZE_WH, block_frames=block_frames) as decoder:
        batches = list(frame_batches(decoder, 2))
    assert [len(batch.frames_rgb) for batch in batches] == [2, 2, 1]
    assert np.array_equal(np.concatenate([batch.frames_rgb for batch in batches]), [frame.rgb for frame in frames])
    facts = [facts for batch in batches for facts in batch.facts]
    assert [frame.media_time_s for frame in facts] == [frame.media_time_s for frame in frames]
    assert [frame.source_index for frame in facts] == [0, 1, 2, 3, 4]
    assert [frame.spread_levels for frame in facts] == spread_levels(np.array([frame.rgb for frame in frames])).tolist()


def test_the_spread_of_a_picture_is_in_levels() -> None:
    halves = np.zeros((12, 12, 3), np.uint8)
    halves[:6] = (100, 20, 0)
    grey = np.full((12, 12, 3), 77, np.uint8)
    assert spread_levels(np.array([halves, grey])) == pytest.approx([20.0, 0.0])  # half of the step, mean of colours


def test_frames_of_one_block_are_not_copied(lossless_mov: Path) -> None:
    with VideoDecoder(lossless_mov, probe_video(lossless_mov), SIZE_WH, block_frames=3) as decoder:
        frames = list(decoder)
        batch = stacked([frame.rgb for frame in frames[:3]])
    assert all(np.shares_memory(batch[number], frames[number].rgb) for number in range(3))


def test_frames_apart_are_copied() -> None:
    block = np.arange(6 * 2 * 2 * 3, dtype=np.uint8).reshape(6, 2, 2, 3)
    for chosen in ([0, 2, 3], [3, 2], [5, 0]):
        assert np.array_equal(stacked([block[number] for number in chosen]), block[chosen])
    other = block.copy()
    assert np.array_equal(stacked([block[1], other[2]]), block[1:3])
    own = [block[number].copy() for number in range(3)]
    assert np.array_equal(stacked(own), block[:3])
