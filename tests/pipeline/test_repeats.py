"""Evidence that repeats itself counts once, whatever the sampling rate and whatever an encoder did to it."""

import dataclasses
import subprocess

import numpy as np
import pytest
import tiny_bundle
import tiny_geoclip_bundle
from tiny_bundle import FEATURE_DIM, write_tiny_bundle
from tiny_geoclip_bundle import write_tiny_geoclip_bundle

from vidtag_cli.pipeline.locate import LocateOptions, locate_video
from vidtag_cli.pipeline.repeats import (
    CELLS,
    KEPT_PICTURES,
    SAME_PICTURE,
    PictureFinder,
    cell_statistics,
    evidence_weights,
    hold_repeats,
    picture_difference,
    run_distinct,
    split_held,
)
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.pipeline.uncertainty import window_disagreement_km
from vidtag_cli.track import TrackPoint
from vidtag_cli.video.batches import FrameBatch, FrameFacts
from vidtag_cli.video.ffmpeg import find_ffmpeg
from vidtag_cli.video.probe import probe_video

SIDE = 48


def scene(rng, side=4 * SIDE):
    """A large picture with detail of every size, of which a camera sees a part: (side, side, 3) float."""
    levels = np.zeros((side, side, 3))
    for size in (4, 8, 16, 32, 64):
        levels += np.kron(rng.normal(0.0, 14.0, (side // size + 1, side // size + 1, 3)), np.ones((size, size, 1)))[
            :side, :side
        ]
    return 120.0 + levels


def view(levels, shift=0, grain=0.0, rng=None, side=SIDE):
    part = levels[:side, shift : shift + side]
    noise = 0.0 if rng is None else rng.normal(0.0, grain, part.shape)
    return np.clip(part + noise, 0, 255).astype(np.uint8)


def difference(first, second):
    means, detail = cell_statistics(first)
    return float(picture_difference(means[None], detail[None], *cell_statistics(second))[0])


def test_grain_and_light_make_no_other_picture_but_movement_does():
    rng = np.random.default_rng(0)
    levels = scene(rng)
    still = view(levels)
    assert difference(still, still) == 0.0
    assert difference(still, view(levels, grain=8.0, rng=rng)) < SAME_PICTURE
    assert difference(still, np.clip(still.astype(int) + 12, 0, 255).astype(np.uint8)) < SAME_PICTURE
    assert difference(still, view(levels, shift=6)) > 2 * SAME_PICTURE
    assert difference(still, view(scene(rng))) > 2 * SAME_PICTURE


def test_bars_around_a_picture_do_not_hide_its_movement():
    levels = scene(np.random.default_rng(1))
    with_bars = [np.zeros((SIDE, SIDE, 3), np.uint8) for _ in range(2)]
    for frame, shift in zip(with_bars, (0, 6), strict=True):
        frame[12:36] = view(levels, shift)[12:36]
    assert difference(*with_bars) > SAME_PICTURE


def test_pictures_without_detail_are_compared_by_their_levels():
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert difference(flat, flat + np.uint8(1)) == 0.0
    tiny = np.random.default_rng(8).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    assert difference(tiny[0], tiny[0]) == 0.0
    assert difference(*tiny) > SAME_PICTURE


@pytest.mark.parametrize("height_width", [(1, 1), (5, 9), (8, 8), (50, 31), (224, 224)])
def test_cells_cover_pictures_of_any_size(height_width):
    rgb = np.random.default_rng(2).integers(0, 256, (*height_width, 3), dtype=np.uint8)
    means, detail = cell_statistics(rgb)
    cells = min(CELLS, height_width[0]) * min(CELLS, height_width[1])
    assert means.shape == (cells, 3) and detail.shape == (cells,)
    if height_width == (224, 224):
        corner = rgb[:28, :28].astype(float)
        np.testing.assert_allclose(means[0], corner.mean((0, 1)), rtol=1e-5)
        np.testing.assert_allclose(detail[0], corner.std((0, 1)).mean(), rtol=1e-4)


def batches_of(frames, size=3):
    for begin in range(0, len(frames), size):
        numbers = range(begin, min(begin + size, len(frames)))
        facts = tuple(FrameFacts(10 * number, float(number), 0, 20.0) for number in numbers)
        yield FrameBatch(np.stack([frames[number] for number in numbers]), facts)


def test_a_frame_that_repeats_a_picture_has_its_pixels_and_says_so():
    """A, B, A with grain, then both again: across batches, and not only the frame right before."""
    rng = np.random.default_rng(3)
    a, b = scene(rng), scene(rng)
    frames = [view(levels, grain=4.0 * (number > 1), rng=rng) for number, levels in enumerate([a, b, a, a, b])]
    held = list(hold_repeats(batches_of(frames)))
    assert [facts.repeats for batch in held for facts in batch.facts] == [None, None, 0, 0, 10]
    pixels = np.concatenate([batch.frames_rgb for batch in held])
    np.testing.assert_array_equal(pixels, np.stack([frames[n] for n in (0, 1, 0, 0, 1)]))


def test_slow_motion_does_not_creep_along_unseen():
    levels = scene(np.random.default_rng(4), 8 * SIDE)
    frames = [view(np.roll(levels, -shift, axis=1)) for shift in range(30)]
    numbers = [facts.repeats for batch in hold_repeats(batches_of(frames)) for facts in batch.facts]
    assert numbers.count(None) > 5


def test_memory_of_pictures_is_bounded():
    rng = np.random.default_rng(5)
    finder = PictureFinder()
    first = view(scene(rng))
    finder.find(0, first)
    for number in range(1, KEPT_PICTURES + 1):
        finder.find(number, view(scene(rng)))
    assert finder.find(999, first).source_index == 999


def test_equal_frames_of_a_window_are_run_as_one():
    """The model sees three frames where a window of six repeats three, and five windows of others as they are."""
    rng = np.random.default_rng(6)
    windows = rng.normal(size=(3, 6, FEATURE_DIM)).astype(np.float32)
    windows[1, 2:5] = windows[1, 1] * (1 + 1e-6)
    seen = []

    def run(rows):
        seen.append(rows.shape)
        return {"sum": rows.sum(axis=(1, 2))[:, None].repeat(rows.shape[1], 1), "own": rows}

    outputs = run_distinct(windows, run)
    assert seen == [(2, 6, FEATURE_DIM), (1, 3, FEATURE_DIM)]
    np.testing.assert_allclose(outputs["own"], windows, rtol=1e-5)
    assert outputs["sum"].shape == (3, 6)
    np.testing.assert_allclose(outputs["sum"][1], windows[1, [0, 1, 5]].sum(), rtol=1e-5)
    np.testing.assert_allclose(outputs["sum"][2], windows[2].sum(), rtol=1e-5)
    seen.clear()
    run_distinct(windows[::2], run)
    assert seen == [(2, 6, FEATURE_DIM)]


def test_a_picture_does_not_confirm_itself():
    still = np.ones((1, 16, FEATURE_DIM), np.float32)
    place = np.array([[48.0, 11.0]])
    outputs = run_distinct(still, lambda rows: {"km": window_disagreement_km(place.repeat(rows.shape[1], 0))[None]})
    assert np.isinf(outputs["km"]).all()


def points_of(*pictures):
    return [
        TrackPoint(n, float(n), "abstained", repeats_frame=None if picture == n else picture)
        for n, picture in enumerate(pictures)
    ]


@pytest.mark.parametrize(("pictures", "frames_a_step", "expected"), [
    ((0, 1, 2), 1, [1.0, 1.0, 1.0]),
    ((0, 0, 0, 3), 1, [1 / 3, 1 / 3, 1 / 3, 1.0]),
    ((0, 1, 0, 1), 1, [0.5, 0.5, 0.5, 0.5]),
    ((0, 1, 2, 3), 2, [0.5, 0.5, 0.5, 0.5]),
    ((0, 0, 2, 3), 4, [0.25, 0.25, 0.25, 0.25]),
    ((0,) * 8, 4, [1 / 8] * 8),
    ((), 1, []),
])  # fmt: skip
def test_a_picture_counts_for_the_steps_it_lasts_and_for_one_at_most(pictures, frames_a_step, expected):
    np.testing.assert_allclose(evidence_weights(points_of(*pictures), frames_a_step), expected)


def test_spans_of_one_picture():
    assert split_held(points_of(0, 0, 2, 0, 0, 5)) == [slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)]
    assert split_held([]) == []


@pytest.fixture(scope="module")
def still_clip(tmp_path_factory):
    """A picture that is held for six seconds, a key frame each second, so that its encoding changes all the time."""
    path = tmp_path_factory.mktemp("still") / "still.mp4"
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-y", "-f", "lavfi"]
    source = "mandelbrot=rate=1:size=288x192,trim=end_frame=1,loop=59:1,settb=1/10,setpts=N,fps=10"
    codec = ["-c:v", "libx264", "-crf", "30", "-g", "10", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-i", source, *codec, f"file:{path}"], check=True)
    return path


@pytest.fixture(scope="module", params=[write_tiny_bundle, write_tiny_geoclip_bundle], ids=["vidtag", "geoclip"])
def session(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for fixture in (tiny_bundle, tiny_geoclip_bundle):
            patch.setattr(fixture, "FRAME_SIZE_PX", SIDE)  # pictures with detail inside their cells
        return open_session(request.param(tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize("smooth", ["none", "viterbi"])
def test_a_held_photograph_says_what_one_frame_of_it_says_at_any_rate(session, still_clip, smooth):
    """The whole answer of the frame alone: status, place, radii, confidence, candidates, or why it abstains."""
    video = probe_video(still_clip)
    single = LocateOptions(sampling_fps=0.1, smooth=smooth)
    (alone,) = locate_video(video, session, single).track.points
    for options in (
        LocateOptions(sampling_fps=1.0, smooth=smooth),
        LocateOptions(sampling_fps=5.0, smooth=smooth),
        LocateOptions(all_frames=True, smooth=smooth),
    ):
        points = locate_video(video, session, options).track.points
        assert len(points) >= 6 and [point.repeats_frame for point in points[1:]] == [0] * (len(points) - 1)
        for point in points:
            assert (point.status, point.abstain_reason) == (alone.status, alone.abstain_reason)
            said, expected = (
                [value for value in dataclasses.astuple(one)[3:8] if value is not None] for one in (point, alone)
            )
            np.testing.assert_allclose(said, expected, rtol=1e-4)
            for place, other in zip(point.candidates, alone.candidates, strict=True):
                np.testing.assert_allclose(dataclasses.astuple(place), dataclasses.astuple(other), rtol=1e-4)
    assert alone.status == ("ok" if session.bundle.kind == "geoclip" else "abstained")
