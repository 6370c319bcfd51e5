"""GeoCLIP's published weights as the start of the location encoder (docs/method.md 2.5)."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import torch
from torch import Tensor

from training.model.location_encoder import geoclip_state
from training.model.vidtag import VidTag
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError

_log = logging.getLogger("training")

GEOCLIP_SIGMAS = (1.0, 16.0, 256.0)
_LOCATIONS, _SCALE = "location_encoder_weights.pth", "logit_scale_weights.pth"


def start_from_geoclip(model: VidTag, sigmas: tuple[float, ...], folder: Path | None = None) -> dict[str, str]:
    """Put GeoCLIP's weights and logit scale into ``model``, and return the SHA-256 of the files they came from.

    A branch whose sigma is not GeoCLIP's keeps the frequency matrix it was built with: 2^3 here, 2^4 there. ``folder``
    holds the two files of the package ``geoclip``, where they are looked for by default. Raises ModelError when they
    are missing or do not fit the encoder.
    """
    folder = folder or _package_folder()
    paths = {name: folder / name for name in (_LOCATIONS, _SCALE)}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise ModelError(f"{', '.join(missing)}: missing; pip install geoclip, whose weights they are")
    if model.location_encoder.kind != "equal_earth" or len(sigmas) != len(GEOCLIP_SIGMAS):
        raise ModelError("GeoCLIP's weights fit a location encoder of kind equal_earth with three branches only")
    kept = [own == published for own, published in zip(sigmas, GEOCLIP_SIGMAS, strict=True)]
    state = geoclip_state(torch.load(paths[_LOCATIONS], map_location="cpu", weights_only=True), kept)
    try:
        loaded = model.location_encoder.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{paths[_LOCATIONS]}: does not fit the location encoder: {error}") from error
    own_draws = [f"branches.{index}.frequency" for index, keeps in enumerate(kept) if not keeps]
    if loaded.missing_keys != own_draws or loaded.unexpected_keys:
        raise ModelError(f"{paths[_LOCATIONS]}: missing {loaded.missing_keys}, unexpected {loaded.unexpected_keys}")
    with torch.no_grad():
        model.log_logit_scale.copy_(_scale(torch.load(paths[_SCALE], map_location="cpu", weights_only=True)))
    _log.info("location encoder: GeoCLIP's weights, logit scale %.2f", float(model.logit_scale().detach()))
    return {name: sha256_of(path) for name, path in paths.items()}


def _scale(stored: Tensor | dict[str, Tensor]) -> Tensor:
    (value,) = [stored] if isinstance(stored, Tensor) else stored.values()
    return value.float().reshape(())


def _package_folder() -> Path:
    # Importing geoclip would build its CLIP from the network; only its files are wanted.
    package = importlib.util.find_spec("geoclip")
    if package is None or package.origin is None:
        raise ModelError("the package geoclip, which holds the published weights, is missing: pip install geoclip")
    return Path(package.origin).parent / "model" / "weights"
