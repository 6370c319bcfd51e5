"""Unified training: the rules of the paper's appendix H."""

import numpy as np
import pytest

from training.config_files import load_config
from training.features.mix import Candidates, mix_clips
from vidtag_cli.errors import UsageError

RULES = load_config("paper_unified").mix
TOKYO, PARIS, LAGOS, LIMA = (35.68, 139.69), (48.86, 2.35), (6.45, 3.39), (-12.05, -77.04)


def candidates(*cities):
    """Return clips by city: (name, centre, count)."""
    latlon = np.concatenate([np.tile(centre, (count, 1)) for _, centre, count in cities])
    return Candidates(latlon, np.concatenate([np.repeat(name, count) for name, _, count in cities]))


SETS = {
    "msls": candidates(("tokyo", (35.6, 139.8), 150), ("paris", PARIS, 50)),
    "cityguessr": candidates(("Tokyo", TOKYO, 90), ("Lagos", LAGOS, 300), ("Lima", LIMA, 60)),
    "gama": candidates(("train", (40.7, -74.0), 1000)),
}


def test_the_papers_rules():
    chosen = mix_clips(RULES, SETS, seed=1)
    assert np.array_equal(chosen["msls"], np.arange(200))
    cities = SETS["cityguessr"].stratum[chosen["cityguessr"]]
    assert {name: int((cities == name).sum()) for name in np.unique(cities)} == {"Lagos": 80, "Lima": 60}
    assert len(chosen["gama"]) == (200 + 140) / 2
    for clips in chosen.values():
        assert (np.diff(clips) > 0).all()


def test_the_same_seed_draws_the_same():
    first, again, other = (mix_clips(RULES, SETS, seed)["gama"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_rules_everything_trains():
    assert {name: len(clips) for name, clips in mix_clips((), SETS, 1).items()} == {
        "msls": 200, "cityguessr": 450, "gama": 1000,
    }  # fmt: skip


def test_a_small_set_is_taken_whole():
    sets = SETS | {"gama": candidates(("train", (40.7, -74.0), 20))}
    assert len(mix_clips(RULES, sets, 1)["gama"]) == 20


@pytest.mark.parametrize("left_out", ["msls", "gama"])
def test_the_sets_must_be_those_of_the_rules(left_out):
    with pytest.raises(UsageError, match="give exactly those"):
        mix_clips(RULES, {name: SETS[name] for name in SETS if name != left_out}, 1)


def test_a_rule_sees_only_what_stands_above():
    with pytest.raises(UsageError, match="must stand above"):
        mix_clips(RULES[::-1], SETS, 1)


def test_nothing_left_is_an_error():
    sets = SETS | {"cityguessr": candidates(("Tokyo", TOKYO, 90))}
    with pytest.raises(UsageError, match="leave no clip"):
        mix_clips(RULES, sets, 1)
