from __future__ import annotations

import pytest
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines.profiles import DEFAULT_WINDOW_FRAMES, profiles_of
from vidtag_cli.errors import ModelError


@pytest.fixture
def graphs(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path)).graphs


def test_the_table_of_the_module_is_what_is_built(graphs):
    assert profiles_of(graphs["dual_encoder"], 16).as_json() == [{"N": [1, 4, 8]}, {"N": [16, 128, 256]}]
    assert profiles_of(graphs["location_encoder"], 16).as_json() == [{"N": [1, 16, 64]}, {"N": [128, 4096, 4096]}]
    temporal = [{"B": [1, 1, 1], "T": [1, 24, 24]}, {"B": [2, 8, 16], "T": [1, 24, 24]}]
    assert profiles_of(graphs["tempgeo"], 24).as_json() == temporal
    assert profiles_of(graphs["georefiner"], 24).as_json() == temporal


def test_every_batch_has_a_profile_after_padding(graphs):
    for name in ("dual_encoder", "location_encoder"):
        profiles = profiles_of(graphs[name])
        for rows in range(1, profiles.most_rows + 1):
            padded = profiles.padded_rows(rows)
            assert rows <= padded < 2 * rows + 1 and profiles.serving({"N": padded}) in (0, 1)


def test_one_profile_for_all_sizes_is_tuned_for_plenty(graphs):
    one = profiles_of(graphs["dual_encoder"]).as_one()
    assert one.as_json() == [{"N": [1, 128, 256]}]
    assert profiles_of(graphs["tempgeo"], 24).as_one().as_json() == [{"B": [1, 8, 16], "T": [1, 24, 24]}]
    assert {one.serving({"N": n}) for n in (1, 8, 9, 16, 256)} == {0}


def test_a_regime_serves_what_it_was_tuned_for(graphs):
    profiles = profiles_of(graphs["dual_encoder"])
    assert [profiles.serving({"N": n}) for n in (1, 8, 16, 256)] == [0, 0, 1, 1]


def test_a_window_longer_than_the_bundle_s_is_refused_with_the_limits(graphs):
    profiles = profiles_of(graphs["tempgeo"], 16)
    with pytest.raises(ModelError, match=r"tempgeo: the engine was built for \{'B': 'at most 16', 'T': 'at most 16'\}"):
        profiles.serving({"B": 1, "T": 17})


def test_only_a_whole_window_is_usual(graphs):
    profiles = profiles_of(graphs["tempgeo"])
    assert profiles.is_usual({"B": 1, "T": DEFAULT_WINDOW_FRAMES})
    assert not profiles.is_usual({"B": 1, "T": DEFAULT_WINDOW_FRAMES - 1})
