"""A location encoder of a few lines that behaves like the real ones, seam included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.store import Gallery, GalleryOrigin
from vidtag_cli.geo.sphere import unit_vector

ENCODER_SHA256 = "ab" * 32
WIDTH = 48

Embed = Callable[[np.ndarray], np.ndarray]


def _features(coordinates: np.ndarray, sigma: float) -> np.ndarray:
    frequency = np.random.default_rng(3).normal(size=(coordinates.shape[1], WIDTH // 2)) * sigma
    angle = coordinates @ frequency
    features = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def embed_plane() -> Embed:
    """Fourier features of latitude and longitude as they are: they do not wrap, like Equal Earth."""
    return lambda latlon_deg: _features(np.deg2rad(latlon_deg), 12.0)


@pytest.fixture
def embed_sphere() -> Embed:
    return lambda latlon_deg: _features(unit_vector(latlon_deg), 12.0)


@pytest.fixture
def origin() -> GalleryOrigin:
    return GalleryOrigin("a test", None, "toy", ENCODER_SHA256)


@pytest.fixture
def build(tmp_path: Path, origin: GalleryOrigin) -> Callable[..., Gallery]:
    def build_at(latlon_deg: np.ndarray, embed: Embed, wraps: bool, name: str = "g", **options: object) -> Gallery:
        return build_gallery(tmp_path / name, latlon_deg, embed, origin, wraps=wraps, **options)

    return build_at
