"""Which clips a step sees, and clips of several sources."""

import dataclasses

import numpy as np
import pytest
from small_training import RECIPE, SmallClips

from training.features.clips import JoinedClips, choose_clips
from vidtag_cli.errors import UsageError

EPOCHS = dataclasses.replace(RECIPE, batch_clips=4, micro_clips=0, epochs=2)


def chosen(recipe, count, number):
    return choose_clips(recipe, count, np.random.default_rng(number), 1, number)


def test_an_epoch_sees_every_clip_once():
    recipe = EPOCHS.over(13)
    assert (recipe.steps, recipe.steps_per_epoch) == (6, 3)
    epochs = [np.concatenate([chosen(recipe, 13, epoch * 3 + step) for step in range(3)]) for epoch in (0, 1)]
    for clips in epochs:
        assert len(set(clips)) == 12
    assert not np.array_equal(*epochs)
    assert np.array_equal(chosen(recipe, 13, 4), chosen(recipe, 13, 4))


def test_a_phase_of_steps_draws_without_repeating():
    recipe = dataclasses.replace(EPOCHS, epochs=0, steps=5, steps_per_epoch=5).over(9)
    assert recipe.steps == 5
    assert all(len(set(chosen(recipe, 9, number))) == 4 for number in range(5))


@pytest.mark.parametrize(
    ("changes", "clips", "said"),
    [({}, 3, "do not fill a batch"), ({"steps": 4}, 9, "either"), ({"epochs": 0}, 9, "either")],
)
def test_a_phase_without_a_length_is_refused(changes, clips, said):
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(EPOCHS, **changes).over(clips)


def test_joined_clips_are_those_of_their_sources():
    class Whole(SmallClips):
        def batch(self, chosen, rng, own):
            return dataclasses.replace(
                super().batch(chosen, rng, own), features=self.features[chosen[own]], latlon_deg=self.latlon_deg[chosen]
            )

    sources = Whole(5), Whole(7), Whole(3)
    joined = JoinedClips(sources)
    assert len(joined) == 15
    features = np.concatenate([source.features for source in sources])
    latlon = np.concatenate([source.latlon_deg for source in sources])
    picked = np.array([0, 4, 5, 11, 12, 14])
    for own in (slice(0, 6), slice(0, 3), slice(3, 6), slice(2, 4)):
        batch = joined.batch(picked, np.random.default_rng(0), own)
        assert np.array_equal(batch.features, features[picked[own]])
        assert np.array_equal(batch.latlon_deg, latlon[picked])
