"""Windows cover every frame once in the output, whatever the length and however the frames arrive."""

import numpy as np
import pytest

from vidtag_cli.pipeline.windows import (
    PACED_FRAMES,
    WINDOWS_AT_ONCE,
    EmbeddedFrames,
    EncodedFrames,
    blend_windows,
    frames_per_step,
    gather_frames,
    is_sparse,
    paced,
    run_interleaved,
    split_into_shots,
    window_weights,
)
from vidtag_cli.video.batches import FrameFacts

FRAMES, OVERLAP = 16, 8
FLOAT32_SUM = 1e-5  # weighted means of values of order one in float32


def features(count, width=3):
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


def facts_of(count, shots=None, interval_s=1.0):
    """Return the facts of frames whose media time and number say which they are."""
    return tuple(
        FrameFacts(10 * number, interval_s * number, 0 if shots is None else int(shots[number]), 50.0 + number)
        for number in range(count)
    )


def batches(values, size, shots=None, interval_s=1.0):
    facts = facts_of(len(values), shots, interval_s)
    return [
        EncodedFrames(facts[begin : begin + size], values[begin : begin + size])
        for begin in range(0, len(values), size)
    ]


def joined(parts, name="x"):
    return np.concatenate([part.outputs[name] for part in parts])


def run(values, size, run_window, frames=FRAMES, overlap=OVERLAP):
    """Return the blended outputs where every window is run by itself, however many are handed over together."""

    def run_windows(windows):
        return {"x": np.stack([run_window(window)["x"] for window in windows])}

    parts = list(blend_windows(batches(values, size), frames, overlap, run_windows))
    assert [frame for part in parts for frame in part.facts] == list(facts_of(len(values)))
    assert all(len(part.facts) == len(part.outputs["x"]) for part in parts)
    return joined(parts) if parts else np.zeros((0, values.shape[1]))


def test_a_frame_counts_by_its_distance_from_the_windows_ends():
    assert window_weights(5).tolist() == [1.0, 2.0, 3.0, 2.0, 1.0]
    assert window_weights(4).tolist() == [1.0, 2.0, 2.0, 1.0]
    assert window_weights(1).tolist() == [1.0]


def test_where_two_windows_disagree_the_nearer_one_counts_more():
    """Of 12 frames two windows of 8: the overlap moves from the first window's answer, 0, to the second's, 1."""
    answers = iter([0.0, 1.0])
    blended = run(features(12), 100, lambda z: {"x": np.full((len(z), 1), next(answers), np.float32)}, 8, 4)
    np.testing.assert_allclose(blended[:, 0], [0, 0, 0, 0, 1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 1, 1, 1], atol=FLOAT32_SUM)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 100])
@pytest.mark.parametrize("size", [1, 5, 16, 32])
def test_a_window_that_changes_nothing_gives_the_features_back(count, size):
    values = features(count)
    np.testing.assert_allclose(run(values, size, lambda z: {"x": z}), values, atol=FLOAT32_SUM)


@pytest.mark.parametrize("count", [5, 16, 17, 24, 40, 41, 47, 48])
@pytest.mark.parametrize("overlap", [0, 1, 8, 15])
def test_equals_the_plain_definition(count, overlap):
    """The plain definition: all windows over the whole array, weighted sums, no streaming.

    The shifted last window adds only to frames that no earlier yield has made final.
    """
    values = features(count)

    def window(z):  # depends on all frames of the window and on the position in it
        return {"x": z * np.arange(1, len(z) + 1, dtype=np.float32)[:, None] + z.mean(0)}

    stride = FRAMES - overlap
    starts = [0] if count < FRAMES else list(range(0, count - FRAMES + 1, stride))
    windows = [(start, start) for start in starts]
    if count > FRAMES and starts[-1] + FRAMES < count:
        windows.append((count - FRAMES, starts[-1] + stride))
    sums, weights = np.zeros_like(values), np.zeros(count, np.float32)
    for start, first in windows:
        part = values[start : start + FRAMES]
        weight = window_weights(len(part)) * (np.arange(start, start + len(part)) >= first)
        sums[start : start + FRAMES] += window(part)["x"] * weight[:, None]
        weights[start : start + FRAMES] += weight
    expected = sums / weights[:, None]
    np.testing.assert_allclose(run(values, 7, window, overlap=overlap), expected, rtol=1e-4, atol=1e-4)


def test_every_window_of_a_long_clip_is_full():
    lengths = []

    def window(z):
        lengths.append(len(z))
        return {"x": z}

    run(features(45), 4, window)
    assert set(lengths) == {FRAMES}


def test_outputs_come_before_the_clip_ends():
    """Bounded memory rests on this: after n frames all but the last window's are final."""
    consumed = 0

    def source():
        nonlocal consumed
        for _ in range(100):
            consumed += 1
            yield EncodedFrames(facts_of(8), features(8))

    stream = blend_windows(source(), FRAMES, OVERLAP, lambda z: {"x": z})
    next(stream)
    assert consumed == 2


@pytest.mark.parametrize(("size", "most"), [(8, 1), (32, 4), (1000, WINDOWS_AT_ONCE)])
def test_windows_that_are_complete_together_are_run_together(size, most):
    counts = []

    def run_windows(windows):
        counts.append(len(windows))
        return {"x": windows}

    values = features(400)
    blended = list(blend_windows(batches(values, size), FRAMES, OVERLAP, run_windows))
    np.testing.assert_allclose(joined(blended), values, atol=FLOAT32_SUM)
    assert max(counts) == most
    assert sum(counts) == (400 - FRAMES) // (FRAMES - OVERLAP) + 1


@pytest.mark.parametrize("size", [1, 3, 8, 100])
@pytest.mark.parametrize("lengths", [(20, 1, 17, 40), (1,), (5, 5), (16, 16)])
def test_no_window_looks_across_a_cut(lengths, size):
    seen = []

    def run_windows(windows):
        seen.extend(windows[..., 0].round().astype(int).tolist())
        return {"x": windows}

    shots = np.repeat(np.arange(len(lengths)) * 3, lengths)  # some shots have no frame in use
    values = features(len(shots))
    values[:, 0] = shots
    blended = [
        part
        for shot in split_into_shots(batches(values, size, shots))
        for part in blend_windows(shot, FRAMES, OVERLAP, run_windows)
    ]
    np.testing.assert_allclose(joined(blended), values, atol=FLOAT32_SUM)
    assert [frame for part in blended for frame in part.facts] == list(facts_of(len(shots), shots))
    assert all(len(set(window)) == 1 for window in seen)
    assert sorted({len(window) for window in seen}) == sorted({min(FRAMES, length) for length in lengths})


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9, 48])
@pytest.mark.parametrize("clips", [1, 3, 5])
def test_interleaved_clips_do_not_see_each_other(count, clips):
    """Each clip gets what it would get alone, in its own places, and none sees another's frames."""
    windows = np.random.default_rng(0).normal(size=(2, count, 3)).astype(np.float32)

    def run_windows(clip):  # depends on all frames of the clip
        return {"x": clip - clip.mean(axis=1, keepdims=True), "length": np.full(clip.shape[:2], clip.shape[1])}

    outputs = run_interleaved(windows, clips, run_windows)
    for first in range(min(clips, count)):
        alone = run_windows(windows[:, first::clips])
        np.testing.assert_array_equal(outputs["x"][:, first::clips], alone["x"])
        assert (outputs["length"][:, first::clips] == len(range(first, count, clips))).all()


@pytest.mark.parametrize("count", [3, 40, 48, 49, 100, 145])
def test_dense_frames_in_interleaved_clips_come_out_in_order(count):
    values = features(count)
    lengths = set()

    def run_windows(clips):
        lengths.add(clips.shape[1])
        return {"x": clips}

    blended = blend_windows(
        batches(values, 7), 3 * FRAMES, 3 * OVERLAP, lambda windows: run_interleaved(windows, 3, run_windows)
    )
    np.testing.assert_allclose(joined(blended), values, atol=FLOAT32_SUM)
    assert max(lengths) <= FRAMES


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
    assert not is_sparse([0.0, 1.5, 3.0], 1.0)
    assert is_sparse([0.0, 1.6], 1.0)
    assert not is_sparse([7.0], 1.0)


@pytest.mark.parametrize("size", [1, 5, 32, 100])
def test_a_stream_is_read_ahead_no_more_than_it_must_and_lost_nowhere(size):
    read = []

    def reading():
        for batch in batches(np.arange(100.0)[:, None], size, interval_s=0.2):
            read.append(batch)
            yield batch

    clips, stream = paced(reading(), 1.0)
    assert clips == 5
    assert len(read) == -(-PACED_FRAMES // size)
    assert [int(batch.features[0, 0]) for batch in stream] == list(range(0, 100, size))


def test_a_stream_without_frames_stays_empty():
    clips, stream = paced([], 1.0)
    assert clips == 1
    assert list(stream) == []


@pytest.mark.parametrize("frames", [1, 3, 4, 7, 30, 100])
def test_gathering_loses_no_frame_and_all_parts_but_the_last_are_as_long_as_asked(frames):
    everything, facts = np.arange(30), facts_of(30)
    parts = [
        EmbeddedFrames(facts[i : i + 3], {"a": everything[i : i + 3], "b": everything[i : i + 3, None] * 2.0})
        for i in range(0, 30, 3)
    ]
    gathered = list(gather_frames(parts, frames))
    assert all(len(part.facts) == len(part.outputs["a"]) == frames for part in gathered[:-1])
    assert 0 < len(gathered[-1].facts) == len(gathered[-1].outputs["a"]) <= frames
    assert [frame for part in gathered for frame in part.facts] == list(facts)
    np.testing.assert_array_equal(joined(gathered, "a"), everything)
    np.testing.assert_array_equal(joined(gathered, "b")[:, 0], everything * 2.0)


def test_no_window_no_output():
    assert list(gather_frames([], 5)) == []
