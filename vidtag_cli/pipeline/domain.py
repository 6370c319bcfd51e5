"""Is this the kind of picture the model was made for? Measured on the frame features, before any place is guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidtag_cli.bundle.array_files import ArrayShape, read_arrays
from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import ModelError

DOMAIN_FILE = "domain.npz"


@dataclass(frozen=True, slots=True)
class DomainModel:
    """The cloud of frame features of the training pictures: ``mean`` (D,), ``whitening`` (D, D), both float32."""

    mean: np.ndarray
    whitening: np.ndarray

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return (N,) float32 Mahalanobis distances of features (N, D), divided by the square root of D: about 1
        inside.
        """
        if len(features) == 1:  # as a matrix: sums of BLAS for a single vector depend on its threads
            return self.distance(features.repeat(2, axis=0))[:1]
        white = (features - self.mean) @ self.whitening
        return np.sqrt((white**2).mean(-1))


def _check_directions(path: Path, model: DomainModel) -> None:
    """Raise ModelError for a whitening that leaves a direction out: whatever lies there would be inside the domain."""
    if not (model.whitening.any(axis=0).all() and model.whitening.any(axis=1).all()):
        raise ModelError(f"{path}: whitening: a direction without width: install the model again")


def fit_domain_model(features: np.ndarray, shrinkage: float = 0.01) -> DomainModel:
    """Return the domain of features (N, D); ``shrinkage`` mixes in a round covariance so that no direction has zero
    width.
    """
    mean = features.mean(0, dtype=np.float64)
    covariance = np.cov(features, rowvar=False, dtype=np.float64)
    width = len(mean)
    rounded = (1.0 - shrinkage) * covariance + shrinkage * np.trace(covariance) / width * np.eye(width)
    values, vectors = np.linalg.eigh(rounded)
    whitening = vectors / np.sqrt(values)
    return DomainModel(mean.astype(np.float32), whitening.astype(np.float32))


def load_domain_model(bundle: ModelBundle) -> DomainModel | None:
    """Return the domain model of a bundle, or None when the bundle has none and needs none.

    Raises ModelError for a damaged one, and where a limit was measured for distances that nothing gives.
    """
    if DOMAIN_FILE not in bundle.contract.files:
        if bundle.calibration.is_measured:
            raise ModelError(f"{bundle.path}: its calibration has max_domain_distance, but there is no {DOMAIN_FILE}")
        return None
    path, width = bundle.file(DOMAIN_FILE), bundle.feature_dim
    expected = {"mean": ArrayShape("float32", (width,)), "whitening": ArrayShape("float32", (width, width))}
    model = DomainModel(**read_arrays(path, expected))
    _check_directions(path, model)
    return model
