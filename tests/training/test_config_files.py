"""Configurations: every preset loads, and nothing misspelled gets through."""

import dataclasses
import json

import pytest

from training.config import TrainingConfig
from training.config_files import PRESET_FOLDER, config_from_json, config_json, load_config
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.strict_values import decode

PRESETS = sorted(path.stem for path in PRESET_FOLDER.glob("*.toml"))


def test_the_documented_presets_are_there():
    assert {"paper", "flyover"} <= set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads_and_bears_its_name(preset):
    config = load_config(preset)
    assert isinstance(config, TrainingConfig)
    assert config.name == preset


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_configuration_reads_back_equal(preset):
    config = load_config(preset)
    assert decode(TrainingConfig, json.loads(config_json(config))) == config


def test_the_paper_has_the_numbers_of_the_specification():
    config = load_config("paper")
    assert (config.model.feature_dim, config.model.embed_dim) == (1792, 512)
    assert config.model.location.sigmas == (1.0, 8.0, 256.0)
    assert (config.phase_one.learning_rate, config.phase_two.learning_rate) == (5e-5, 1e-4)
    assert (config.phase_two.alpha, config.phase_two.beta) == (10.0, 1.0)
    assert dataclasses.astuple(config.noise) == (0.1, (0.001, 0.02), (-0.2, 0.2), (0.0, 0.0), 0.0)


def changed(tmp_path, old, new):
    text = (PRESET_FOLDER / "flyover.toml").read_text("utf-8")
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return str(path)


BAD = {
    "an unknown key": ("seed = 20261122", "seed = 20261122\nsede = 1", "sede"),
    "an unknown nested key": ("patch_size = 16", "patch_size = 16\npatchsize = 16", "patchsize"),
    "an unknown table": ("[noise]", "[niose]\n[noise]", "niose"),
    "a missing key": ("seed = 20261122", "", "seed"),
    "a missing nested key": ("stem_hidden = 256", "", "stem_hidden"),
    "a word for a number": ("seed = 20261122", 'seed = "20261122"', "seed"),
    "a fraction for a whole number": ("embed_dim = 256", "embed_dim = 256.5", "embed_dim"),
    "a truth value for a number": ("stem_hidden = 256", "stem_hidden = true", "stem_hidden"),
    "a number for a list": ("sigmas = [4.0, 12.0, 32.0]", "sigmas = 1.0", "sigmas"),
    "a word in a list of numbers": ("sigmas = [4.0, 12.0, 32.0]", 'sigmas = [1.0, "4"]', "sigmas"),
    "a number for a table": ("[cache]\n", "[cache_]\n", "cache_"),
}


@pytest.mark.parametrize("case", BAD)
def test_it_refuses(case, tmp_path):
    old, new, named = BAD[case]
    with pytest.raises(InputError, match=named):
        load_config(changed(tmp_path, old, new))


def test_a_whole_number_may_stand_for_a_fraction(tmp_path):
    config = load_config(changed(tmp_path, "learning_rate = 2e-3", "learning_rate = 1"))
    assert isinstance(config.backbones.learning_rate, float)


def test_a_base_gives_what_the_file_does_not_say(tmp_path):
    path = tmp_path / "longer.toml"
    path.write_text('base = "paper"\nname = "longer"\n[phase_one]\nepochs = 700\n', "utf-8")
    longer, paper = load_config(str(path)), load_config("paper")
    assert (longer.name, longer.phase_one.epochs) == ("longer", 700)
    assert dataclasses.replace(longer.phase_one, epochs=600) == paper.phase_one
    assert longer.model == paper.model


@pytest.mark.parametrize("base", ['"nothing"', '"paper_unified"', "3"])
def test_a_base_must_be_a_preset_without_one(tmp_path, base):
    path = tmp_path / "bad.toml"
    path.write_text(f'base = {base}\nname = "bad"\n', "utf-8")
    with pytest.raises(InputError, match="base"):
        load_config(str(path))


def test_an_earlier_record_lacks_later_keys():
    config = load_config("paper")
    record = json.loads(config_json(config))
    assert config_from_json(json.dumps(record), "config.json") == config
    del record["mix"], record["phase_one"]["ema_decay"]
    assert config_from_json(json.dumps(record), "config.json") == config
    del record["seed"]
    with pytest.raises(InputError, match="seed: the key is missing"):
        config_from_json(json.dumps(record), "config.json")


def test_an_unknown_name_lists_the_presets():
    with pytest.raises(UsageError, match="flyover, paper"):
        load_config("no such preset")


def test_a_range_needs_both_its_ends(tmp_path):
    text = (PRESET_FOLDER / "flyover.toml").read_text("utf-8")
    path = tmp_path / "short.toml"
    path.write_text(text.replace("jitter_deg = [0.02, 0.5]", "jitter_deg = [0.02]"), "utf-8")
    with pytest.raises(InputError, match="noise.jitter_deg: expected 2 entries"):
        load_config(str(path))
