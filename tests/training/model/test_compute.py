"""Multiplications of the full model: torch's counter against a sum by hand, and beside the paper's figure."""

import pytest

from training.config_files import load_config
from training.model.compute import PAPER_GMACS, compute_report, count_compute

FRAMES = 16


def vit_gmacs(tokens, width, layers, patch=14, size=224, projected=0):
    """Return the products of a ViT: patches, then per layer 12 width^2 a token and attention, then the projection."""
    patches = (size // patch) ** 2 * patch * patch * 3 * width
    layer = tokens * 12 * width**2 + 2 * tokens**2 * width
    return (patches + layers * layer + projected * width) / 1e9


@pytest.fixture(scope="module")
def parts():
    return {part.name: part for part in count_compute(load_config("paper").model, FRAMES)}


def test_the_counter_agrees_with_a_sum_by_hand(parts):
    assert parts["CLIP"].gmacs == pytest.approx(vit_gmacs(257, 1024, 24, projected=768), rel=1e-6)
    assert parts["DINOv2"].gmacs == pytest.approx(vit_gmacs(261, 1024, 24), rel=1e-6)
    stem = 1792 * 512 + 512 * 512 + 512 * 1792
    layer = 4 * 1792**2 + 2 * 1792**2 + 2 * FRAMES * 1792
    assert parts["TempGeo"].gmacs == pytest.approx((stem + 2 * layer + 1792**2) / 1e9, rel=1e-6)
    assert parts["frame MLP"].gmacs == pytest.approx((1792 * 1024 + 1024 * 768 + 768 * 512) / 1e9, rel=1e-6)


def test_the_papers_figure_has_room_for_one_backbone_only(parts):
    assert parts["CLIP"].gmacs < PAPER_GMACS < parts["CLIP"].gmacs + parts["DINOv2"].gmacs
    heads = sum(parts[name].gmacs for name in ("TempGeo", "frame MLP", "GeoRefiner"))
    reading = parts["CLIP"].gmacs + FRAMES * (heads + parts["location encoder (one place)"].gmacs)
    assert reading == pytest.approx(PAPER_GMACS, abs=0.25)


def test_the_report_prints_both(capsys):
    report = compute_report(load_config("paper").model, FRAMES)
    assert "163.467 GMACs" in report
    assert "83.47" in report
    assert all(len(line) < 130 for line in report.splitlines())
