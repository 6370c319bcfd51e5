"""Places near the antimeridian under both longitudes, for location encoders that do not know that it is none."""

from __future__ import annotations

import numpy as np

from vidtag_cli.gallery.build import near_antimeridian, other_longitude


def both_longitudes(latlon_deg: np.ndarray) -> np.ndarray:
    """Return places (G, 2), and after them those near the antimeridian again, their longitudes a turn away."""
    return np.concatenate([latlon_deg, other_longitude(latlon_deg[near_antimeridian(latlon_deg)])])
