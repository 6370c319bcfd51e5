"""The feature cache: whole rows of the right frames, whatever was killed; never two kinds of features in one."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import cache_filling
import numpy as np
import pytest
from cache_filling import BATCH_FRAMES, CLIPS, ENCODING, PixelEncoder, fill, read_numbers, samples

from training.features.clips import DrawnClips, middle_clips
from training.features.encode import batches, kept_frames
from training.features.listing import CacheIdentity, CacheListing, ClipRecord, weights_fingerprint
from training.features.store import JOURNAL_FILE, is_finished, open_cache, read_journal, shard_path
from training.features.writer import open_writer
from vidtag_cli.errors import InputError

ROOT = Path(__file__).parents[3]
BROKEN = "clips/011"


def assert_right(cache):
    """Every row holds the numbers of its clip and frame; the clip that cannot be read is not among those to train."""
    offsets = cache.listing.offsets
    for number, sample in enumerate(samples()):
        rows = cache.rows(np.arange(offsets[number], offsets[number + 1]))
        if sample.key == BROKEN:
            assert not rows.any()
            continue
        assert (rows[:, 0] == number).all()
        assert np.array_equal(rows[:, 1], kept_frames(len(sample), CLIPS.max_frames))
    assert list(cache.failed) == [BROKEN]
    assert 11 not in cache.clips_of(1)


class StoppedError(Exception):
    """Stands for the end of the process."""


def stop_after(reads):
    left = [reads]

    def read(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError
        return read_numbers(*arguments)

    return read


def test_all_frames_are_there(tmp_path):
    cache = fill(tmp_path)
    assert_right(cache)
    assert np.array_equal(cache.listing.latlon_deg[:, 0] * 2, np.repeat(np.arange(30), cache.listing.counts()))
    assert cache.listing.counts()[7] == CLIPS.max_frames
    assert cache.listing.clips[4] == ClipRecord("clips/004", "clips/004", "city 1", {**dict.fromkeys(
        ("state", "country", "continent")), "city": "x"})  # fmt: skip
    assert_right(open_cache(tmp_path, cache.identity))


def test_processes_killed_at_random_moments_leave_no_torn_row(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    told = subprocess.run(
        [sys.executable, cache_filling.__file__, str(tmp_path), "12"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = json.loads(told.stdout)
    assert rows == sorted(rows), "a later process never has less than an earlier one left"
    assert_right(fill(tmp_path))


@pytest.mark.parametrize("reads", [1, 7, 30])
def test_a_kill_loses_one_batch_at_most(tmp_path, reads):
    with pytest.raises(StoppedError):
        fill(tmp_path, stop_after(reads))
    done = read_journal(tmp_path).rows
    kept = dataclasses.replace(ENCODING, readers=1)
    asked = []

    def read(sample, indices, size_px):
        asked.append((sample.key, len(indices)))
        return read_numbers(sample, indices, size_px)

    cache = fill(tmp_path, read, encoding=kept)
    assert_right(cache)
    assert sum(count for _, count in asked) == cache.listing.rows - done


@pytest.mark.parametrize("torn", [b"", b'{"rows": 9', b'{"rows"'])
def test_what_was_written_after_the_last_line_does_not_count(tmp_path, torn):
    with pytest.raises(StoppedError):
        fill(tmp_path, stop_after(9))
    with (tmp_path / JOURNAL_FILE).open("ab") as file:
        file.write(torn)
    with shard_path(tmp_path, 0).open("ab") as file:
        file.write(b"\x01\x02\x03")
    assert_right(fill(tmp_path))


def test_an_unfinished_cache_is_not_opened(tmp_path):
    assert not is_finished(tmp_path)
    with pytest.raises(StoppedError):
        fill(tmp_path, stop_after(3))
    assert not is_finished(tmp_path)
    with pytest.raises(InputError, match="frames are encoded; give the command"):
        open_cache(tmp_path)
    fill(tmp_path)
    assert is_finished(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"encoder": PixelEncoder(2.0)}, "weights"),
        ({"encoding": dataclasses.replace(ENCODING, size_px=5)}, "preprocessing '4 px RGB, float32', wanted '5 px"),
    ],
)
def test_other_features_are_refused(tmp_path, changes, named):
    fill(tmp_path)
    with pytest.raises(InputError, match=named):
        fill(tmp_path, **changes)
    assert_right(open_cache(tmp_path))


def test_other_frames_are_refused(tmp_path, monkeypatch):
    fill(tmp_path)
    moved = samples()
    moved[3].latlon_deg[2, 0] += 1e-9
    monkeypatch.setattr(cache_filling, "samples", lambda: moved)
    with pytest.raises(InputError, match="listing"):
        fill(tmp_path)


def test_a_finished_cache_reads_no_frame(tmp_path):
    fill(tmp_path)
    assert_right(fill(tmp_path, stop_after(0)))


def test_rows_cross_shards(tmp_path):
    listing = CacheListing((ClipRecord("a", "a", ""),), np.array([0, 10]), np.zeros((10, 2)), np.arange(10.0))
    identity = CacheIdentity("w", "p", listing.sha256(), 3)
    rows = np.arange(30, dtype=np.float16).reshape(10, 3)
    with open_writer(tmp_path, identity, listing, rows_per_shard=4) as writer:
        for begin, end in ((0, 3), (3, 9), (9, 10)):
            writer.append(rows[begin:end])
        with pytest.raises(ValueError, match="more than the listing has"):
            writer.append(rows[:1])
    cache = open_cache(tmp_path)
    assert len(cache.shards) == 3
    assert np.array_equal(cache.rows(np.array([9, 0, 5, 4, 3])), rows[[9, 0, 5, 4, 3]])


def test_one_writer_at_a_time(tmp_path):
    listing = CacheListing((), np.array([0]), np.zeros((0, 2)), np.zeros(0))
    identity = CacheIdentity("w", "p", listing.sha256(), 3)
    with (
        open_writer(tmp_path, identity, listing),
        pytest.raises(InputError, match="another process"),
        open_writer(tmp_path, identity, listing),
    ):
        pass


def test_a_shard_that_lost_rows_is_refused(tmp_path):
    fill(tmp_path)
    os.truncate(shard_path(tmp_path, 0), 100)
    with pytest.raises(InputError, match="wrong size"):
        open_cache(tmp_path)
    with pytest.raises(InputError, match="shorter than its journal says"):
        fill(tmp_path)


def test_when_nothing_can_be_read_it_says_so(tmp_path):
    def read(sample, indices, size_px):
        raise OSError("disk gone")

    with pytest.raises(InputError, match="none of the 30 samples"):
        fill(tmp_path, read)


@pytest.mark.parametrize("size", [1, 5, 8, 1000])
def test_batches_hold_all_frames_in_order_and_divide_only_long_clips(size):
    counts = np.array([4, 20, 1, 3, 9, 8])
    frames = []
    for batch in batches(counts, size):
        held = sum(part.stop - part.start for _, part in batch)
        assert 0 < held <= size
        for clip, part in batch:
            frames += [(clip, frame) for frame in range(part.start, part.stop)]
            assert counts[clip] > size or part == slice(0, counts[clip])
    assert frames == [(clip, frame) for clip, count in enumerate(counts) for frame in range(count)]


def test_drawn_clips_are_frames_of_their_clip_with_their_places(tmp_path):
    cache = fill(tmp_path)
    clips = DrawnClips(cache, cache.clips_of(CLIPS.frames), CLIPS.frames)
    chosen = np.array([0, 5, 17])
    whole = clips.batch(chosen, np.random.default_rng(3), slice(0, 3))
    part = clips.batch(chosen, np.random.default_rng(3), slice(1, 2))
    other = clips.batch(chosen, np.random.default_rng(4), slice(0, 3))
    assert whole.features.shape == (3, CLIPS.frames, cache.identity.feature_dim)
    assert np.array_equal(part.features, whole.features[1:2])
    assert np.array_equal(part.latlon_deg, whole.latlon_deg)
    assert not np.array_equal(other.features, whole.features)
    for clip, features, latlon in zip(clips.clips[chosen], whole.features, whole.latlon_deg, strict=True):
        assert (features[:, 0] == clip).all()
        assert (np.diff(features[:, 1]) > 0).all()
        assert np.allclose(latlon[:, 1], features[:, 1] * 0.01, atol=1e-3)
    middle = middle_clips(cache, clips.clips, CLIPS.frames)
    assert np.array_equal(middle.features, middle_clips(cache, clips.clips, CLIPS.frames).features)


def test_a_fingerprint_sees_every_weight():
    assert weights_fingerprint(PixelEncoder()) == weights_fingerprint(PixelEncoder())
    assert weights_fingerprint(PixelEncoder()) != weights_fingerprint(PixelEncoder(1.0000001))
    assert ENCODING.batch_frames == BATCH_FRAMES
