"""What the PyPI package ``geoclip`` carries: GeoCLIP's published head, location encoder, logit scale and gallery."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model.location_encoder import LocationEncoder, geoclip_state
from vidtag_cli.errors import InputError
from vidtag_cli.gallery.build import canonical_latlon, first_of_duplicates

PACKAGE = "geoclip"
SIGMAS = (2.0**0, 2.0**4, 2.0**8)
"""Of the published location encoder; the paper's model has 2^3 in the middle."""

_GALLERY_FILE = "gps_gallery/coordinates_100K.csv"
_GALLERY_HEADER = "LAT,LON"


@dataclass(frozen=True, slots=True)
class GeoClipRelease:
    """The published parts. ``gallery_latlon_deg`` (G, 2) float64 has each place once, in the order of the package."""

    version: str
    head: nn.Sequential
    location_encoder: LocationEncoder
    logit_scale: float
    gallery_latlon_deg: np.ndarray


def read_release() -> GeoClipRelease:
    """Return GeoCLIP's release as installed; raises InputError when the package is missing or has other contents."""
    folder = release_folder()
    try:
        return GeoClipRelease(
            version(PACKAGE),
            _head(_tensors(folder / "weights" / "image_encoder_mlp_weights.pth")),
            _location_encoder(_tensors(folder / "weights" / "location_encoder_weights.pth")),
            float(_tensor(folder / "weights" / "logit_scale_weights.pth").exp()),
            merge_repeats(read_rows(folder / _GALLERY_FILE)),
        )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: not the contents of a {PACKAGE} release known here: {error}") from error


def published_encoder() -> Any:
    """Return the package's own location encoder, a ``torch.nn.Module`` in float32, with its weights."""
    from geoclip import LocationEncoder as PublishedEncoder  # here: it brings pandas and the whole of transformers

    return PublishedEncoder().eval()


@torch.no_grad()
def published_embedding(encoder: Any, latlon_deg: np.ndarray) -> np.ndarray:
    """Return the embeddings (N, E) float32, L2-normalised, of places (N, 2) as ``predict`` of the package has them.

    Coordinates and phases are rounded to float32, which moves cosines by up to 7e-5: the package's order of places
    that near to each other is that of its rounding, and no exact computation gives it.
    """
    return functional.normalize(encoder(torch.from_numpy(latlon_deg.astype(np.float32))), dim=1).numpy()


def read_rows(file: Path) -> np.ndarray:
    """Return the rows (R, 2) float64 of a CSV file with the columns LAT and LON.

    GeoCLIP itself rounds them to float32, which moves places by up to 0.85 m.
    """
    with file.open(encoding="utf-8") as lines:
        header = lines.readline().strip()
        if header != _GALLERY_HEADER:
            raise ValueError(f"{file} begins with {header!r} and not with {_GALLERY_HEADER!r}")
        return np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2)


def merge_repeats(latlon_deg: np.ndarray) -> np.ndarray:
    """Return each place of (R, 2) once; the first of equal ones stays, because order decides between equal scores."""
    return canonical_latlon(latlon_deg[first_of_duplicates(latlon_deg)])


def release_folder() -> Path:
    """Return the folder of the installed package's model; raises InputError when it is not installed."""
    package = importlib.util.find_spec(PACKAGE)  # not imported: it would bring pandas and the whole of transformers
    if package is None or not package.submodule_search_locations:
        raise InputError(f"GeoCLIP's published weights are in the package {PACKAGE}: pip install {PACKAGE}")
    return Path(package.submodule_search_locations[0]) / "model"


def _head(state: dict[str, Tensor]) -> nn.Sequential:
    (hidden, width), embed_dim = state["0.weight"].shape, len(state["2.bias"])
    head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, embed_dim))
    head.load_state_dict(state)
    return head.eval()


def _location_encoder(state: dict[str, Tensor]) -> LocationEncoder:
    encoder = LocationEncoder(kind="equal_earth", sigmas=SIGMAS)
    encoder.load_state_dict(geoclip_state(state, keep_frequencies=[True] * len(SIGMAS)))
    return encoder.eval()


def _tensor(file: Path) -> Tensor:
    # The package ships torch's own format; weights_only reads tensors from it and runs nothing.
    return torch.load(file, map_location="cpu", weights_only=True)


def _tensors(file: Path) -> dict[str, Tensor]:
    return torch.load(file, map_location="cpu", weights_only=True)
