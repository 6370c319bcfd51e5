"""Windows cover every frame once in the output, whatever the length and however the frames arrive."""

import numpy as np
import pytest

from vidtag_cli.pipeline.windows import (
    WINDOWS_AT_ONCE,
    EncodedBatch,
    blend_windows,
    run_strands,
    split_into_shots,
    window_weights,
)

FRAMES, OVERLAP = 16, 8
FLOAT32_SUM = 1e-5  # weighted means of values of order one in float32


def features(count, width=3):
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


def batches(values, size):
    return [values[begin : begin + size] for begin in range(0, len(values), size)]


def run(values, size, run_window, frames=FRAMES, overlap=OVERLAP):
    """Return the blended outputs where every window is run by itself, however many are handed over together."""

    def run_windows(windows):
        return {"x": np.stack([run_window(window)["x"] for window in windows])}

    outputs = list(blend_windows(batches(values, size), frames, overlap, run_windows))
    return np.concatenate([output["x"] for output in outputs]) if outputs else np.zeros((0, values.shape[1]))


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
            yield features(8)

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
    outputs = list(blend_windows(batches(values, size), FRAMES, OVERLAP, run_windows))
    np.testing.assert_allclose(np.concatenate([output["x"] for output in outputs]), values, atol=FLOAT32_SUM)
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
    parts = [
        EncodedBatch(values[begin : begin + size], tuple(shots[begin : begin + size]), range(begin, begin + size))
        for begin in range(0, len(shots), size)
    ]
    outputs = [
        output["x"] for shot in split_into_shots(parts) for output in blend_windows(shot, FRAMES, OVERLAP, run_windows)
    ]
    np.testing.assert_allclose(np.concatenate(outputs), values, atol=FLOAT32_SUM)
    assert all(len(set(window)) == 1 for window in seen)
    assert sorted({len(window) for window in seen}) == sorted({min(FRAMES, length) for length in lengths})


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9, 48])
@pytest.mark.parametrize("strands", [1, 3, 5])
def test_strands_are_clips_of_their_own(count, strands):
    """Each strand gets what it would get alone, in its own places, and none sees another's frames."""
    windows = np.random.default_rng(0).normal(size=(2, count, 3)).astype(np.float32)

    def run_windows(clips):  # depends on all frames of the clip
        return {"x": clips - clips.mean(axis=1, keepdims=True), "length": np.full(clips.shape[:2], clips.shape[1])}

    outputs = run_strands(windows, strands, run_windows)
    for first in range(min(strands, count)):
        alone = run_windows(windows[:, first::strands])
        np.testing.assert_array_equal(outputs["x"][:, first::strands], alone["x"])
        assert (outputs["length"][:, first::strands] == len(range(first, count, strands))).all()


@pytest.mark.parametrize("count", [3, 40, 48, 49, 100, 145])
def test_dense_frames_in_strands_come_out_in_order(count):
    values = features(count)
    lengths = set()

    def run_windows(clips):
        lengths.add(clips.shape[1])
        return {"x": clips}

    blended = blend_windows(
        batches(values, 7), 3 * FRAMES, 3 * OVERLAP, lambda windows: run_strands(windows, 3, run_windows)
    )
    np.testing.assert_allclose(np.concatenate([output["x"] for output in blended]), values, atol=FLOAT32_SUM)
    assert max(lengths) <= FRAMES
