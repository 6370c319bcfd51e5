"""How dense frames are, against a model's own pace."""

import numpy as np
import pytest

from vidtag_cli.pipeline.pace import PACED_FRAMES, frames_per_step, is_sparse, paced
from vidtag_cli.pipeline.windows import EncodedBatch


@pytest.mark.parametrize(
    ("interval_s", "expected"), [(1 / 30, 30), (0.2, 5), (0.5, 2), (0.9, 1), (1.0, 1), (1.4, 1), (2.0, 1), (60.0, 1)]
)
def test_frames_per_step(interval_s, expected):
    assert frames_per_step(interval_s * np.arange(20), 1.0) == expected


def test_uneven_frames_go_by_their_median_and_one_frame_is_its_own_pace():
    assert frames_per_step([0.0, 0.1, 0.2, 0.3, 9.0], 1.0) == 10
    assert frames_per_step([3.0], 1.0) == frames_per_step([], 1.0) == 1


def test_only_frames_clearly_farther_apart_are_sparse():
    assert is_sparse([0.0, 2.0, 4.0], 1.0)
    assert not is_sparse([0.0, 1.4, 2.8], 1.0)
    assert not is_sparse([7.0], 1.0)


@pytest.mark.parametrize("size", [1, 5, 32, 100])
def test_a_stream_is_read_ahead_no_more_than_it_must_and_lost_nowhere(size):
    read = []

    def batches():
        for begin in range(0, 100, size):
            read.append(begin)
            count = min(size, 100 - begin)
            yield EncodedBatch(np.full((count, 1), begin), (0,) * count, 0.2 * np.arange(begin, begin + count))

    strands, stream = paced(batches(), 1.0)
    assert strands == 5
    assert len(read) == -(-PACED_FRAMES // size)
    assert [int(batch.features[0, 0]) for batch in stream] == list(range(0, 100, size))


def test_a_stream_without_frames_stays_empty():
    strands, stream = paced([], 1.0)
    assert strands == 1
    assert list(stream) == []
