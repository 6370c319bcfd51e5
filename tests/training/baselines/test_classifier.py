from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from training.baselines.cells import OUTSIDE, cells_at_level, hierarchy_of
from training.baselines.classifier import CellClassifier, cell_loss, train_classifier
from training.baselines.heads import FlatHead, QueryDecoder, SceneHeads
from vidtag_cli.geo.sphere import haversine_km

LEVELS = (2, 4, 6)
FEATURES, SCENES, STEPS = 16, 2, 120
# A random guess among the toy's dozen cells is right in about one of twelve; trained heads are in nearly all.
TRAINED_ACCURACY = 0.8


@pytest.fixture(scope="module")
def toy():
    """Features that tell a place and a scene apart: (train, test) pairs of features, positions and scenes."""
    random = np.random.default_rng(0)
    towns = np.array([(52.5, 13.4), (48.1, 11.6), (-17.8, 178.9), (-16.5, -179.9), (40.7, -74.0), (64.7, 177.5)])
    looks = random.normal(size=(SCENES, len(towns), FEATURES))

    def draw(count):
        town, scene = random.integers(0, len(towns), count), random.integers(0, SCENES, count)
        features = looks[scene, town] + random.normal(0.0, 0.3, (count, FEATURES))
        return features.astype(np.float32), towns[town] + random.normal(0.0, 0.01, (count, 2)), scene

    return draw(600), draw(200)


def partitions_of(toy, levels=LEVELS):
    return [cells_at_level(toy[0][1], level) for level in levels]


def logged_losses(folder):
    """Return the mean loss of each 20 steps, as the log of the loop has it."""
    with (folder / "log.csv").open() as log:
        return [float(line["loss"]) for line in csv.DictReader(log)]


def heads(partitions):
    cells = [len(partition) for partition in partitions]
    return {
        "flat": lambda: FlatHead(FEATURES, cells[-1], hidden=(32,)),
        "scenes": lambda: SceneHeads(FEATURES, cells, SCENES),
        "query decoder": lambda: QueryDecoder((10, 6), cells, SCENES, width=32, layers=1, heads=4),
    }


@pytest.mark.parametrize("name", ["flat", "scenes", "query decoder"])
def test_each_head_learns_where_pictures_are(toy, name, tmp_path):
    partitions = partitions_of(toy, LEVELS if name != "flat" else LEVELS[-1:])
    torch.manual_seed(0)
    head = heads(partitions)[name]()
    (features, latlon, scenes), (test_features, test_latlon, test_scenes) = toy
    classifier = train_classifier(
        head, partitions, features, latlon, scenes, folder=tmp_path, steps=STEPS, batch_frames=128, learning_rate=5e-3
    )
    losses = logged_losses(tmp_path)
    assert losses[-1] < 0.3 * losses[0]
    for given_scenes in (test_scenes, None):  # a scene that is not given must be recognised
        located = classifier.locate(test_features, given_scenes)
        right = partitions[-1].classes_of(located) == partitions[-1].classes_of(test_latlon)
        assert right.mean() > TRAINED_ACCURACY
        assert np.median(haversine_km(located, test_latlon)) < 150.0  # a cell of level 6 is some 120 km wide


def trained_head(toy, folder, seed, steps=5, stop_after=None):
    """Return a head's weights after some steps, in one go or stopped in between as a kill would."""
    partitions = partitions_of(toy, (6,))
    features, latlon, _ = toy[0]
    for until in filter(None, (stop_after, steps)):
        torch.manual_seed(0)
        head = FlatHead(FEATURES, len(partitions[0]), hidden=(8,))
        train_classifier(head, partitions, features, latlon, folder=folder, steps=until, seed=seed)
    return torch.cat([weight.detach().flatten() for weight in head.parameters()])


def test_equal_seeds_train_equal_heads(toy, tmp_path):
    one, again, other = (trained_head(toy, tmp_path / str(run), seed) for run, seed in enumerate((1, 1, 2)))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_head_that_was_stopped_goes_on_to_the_same_weights(toy, tmp_path):
    whole = trained_head(toy, tmp_path / "whole", seed=1)
    assert torch.equal(trained_head(toy, tmp_path / "stopped", seed=1, stop_after=2), whole)


def test_probabilities_are_multiplied_along_the_hierarchy(toy):
    partitions = partitions_of(toy, (4, 6))
    torch.manual_seed(0)
    head = SceneHeads(FEATURES, [len(p) for p in partitions], SCENES)
    features, _, scenes = toy[1]
    found = CellClassifier(head, tuple(partitions)).probabilities(features, scenes)
    coarse, fine = (
        torch.softmax(scores, dim=1).detach().numpy()
        for scores in head(torch.from_numpy(features), torch.from_numpy(scenes))
    )
    joint = coarse[:, hierarchy_of(partitions)[0]] * fine
    assert found == pytest.approx(joint / joint.sum(axis=1, keepdims=True), abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(features)), abs=1e-5)


def test_the_scene_decides_which_network_answers(toy):
    head = SceneHeads(FEATURES, [3, 5], SCENES)
    features = torch.from_numpy(toy[1][0][:4])
    mixed = head(features, torch.tensor([0, 1, 1, 0]))
    alone = [head(features, torch.full((4,), scene)) for scene in range(SCENES)]
    for level in range(2):
        expected = torch.stack([alone[scene][level][row] for row, scene in enumerate((0, 1, 1, 0))])
        assert torch.equal(mixed[level], expected)


def test_frames_outside_a_partition_do_not_count():
    scores = [torch.randn(4, 3), torch.randn(4, 2)]
    classes = torch.tensor([[0, 2, OUTSIDE, OUTSIDE], [OUTSIDE] * 4])
    expected = torch.nn.functional.cross_entropy(scores[0][:2], classes[0, :2])
    assert torch.equal(cell_loss(scores, classes), expected)


def test_no_frame_in_any_cell_is_an_error(toy, tmp_path):
    partitions = partitions_of(toy, (6,))
    head = FlatHead(FEATURES, len(partitions[0]))
    with pytest.raises(ValueError, match="no frame"):
        train_classifier(head, partitions, np.zeros((2, FEATURES)), np.zeros((2, 2)), folder=tmp_path, steps=1)


def test_no_features_have_no_positions(toy):
    partitions = partitions_of(toy, (6,))
    classifier = CellClassifier(FlatHead(FEATURES, len(partitions[0])), tuple(partitions))
    assert classifier.locate(np.zeros((0, FEATURES), np.float32)).shape == (0, 2)
