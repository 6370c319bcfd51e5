"""Which held-out sequences calibrate and which measure."""

import cache_filling
import numpy as np
from cache_filling import CLIPS, FEATURE_DIM, fill

from training.features.held_out import SplitSamples, clips_among, held_out_clips

FRAMES = CLIPS.frames


def split(samples, held_out):
    return SplitSamples(samples, frozenset(sample.key for sample in samples) - held_out)


def test_each_sequence_has_its_side_whatever_else_is_held_out(tmp_path):
    cache = fill(tmp_path)
    samples = cache_filling.samples()
    keys = [sample.key for sample in samples]
    everything = held_out_clips({"a": split(samples, frozenset(keys))}, {"a": cache}, FRAMES, FEATURE_DIM)
    few = held_out_clips({"a": split(samples, frozenset(keys[::3]))}, {"a": cache}, FRAMES, FEATURE_DIM)
    for part in ("calibration", "test"):
        places = {tuple(clip[0]) for clip in getattr(few, part).latlon_deg}
        assert places
        assert places < {tuple(clip[0]) for clip in getattr(everything, part).latlon_deg}
    readable = len(cache.clips_of(FRAMES))
    assert len(everything.calibration.features) + len(everything.test.features) == readable


def test_nothing_held_out_gives_empty_parts(tmp_path):
    cache = fill(tmp_path)
    samples = cache_filling.samples()
    none = held_out_clips({"a": split(samples, frozenset())}, {"a": cache}, FRAMES, FEATURE_DIM)
    assert none.calibration.features.shape == none.test.features.shape == (0, FRAMES, FEATURE_DIM)


def test_unreadable_and_short_sequences_are_nobodys(tmp_path):
    cache = fill(tmp_path)
    keys = frozenset(sample.key for sample in cache_filling.samples())
    chosen = clips_among(cache, 20, keys)
    assert (cache.listing.counts()[chosen] >= 20).all()
    assert not {cache.listing.clips[clip].key for clip in chosen} & set(cache.failed)
    assert np.array_equal(clips_among(cache, 20, frozenset()), np.zeros(0, dtype=chosen.dtype))
