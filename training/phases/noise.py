"""The noise model of Phase II (SPEC 2.9): true positions made to look like the mistakes of Phase I."""

from __future__ import annotations

import numpy as np

from vidtag_cli.geo.sphere import wrap_longitude_deg


def put_on_sphere(latlon_deg: np.ndarray) -> np.ndarray:
    """Return positions (..., 2) whose latitude may have left [-90, 90] carried over the pole, longitude in [-180,
    180).
    """
    lat = wrap_longitude_deg(latlon_deg[..., 0])
    beyond = np.abs(lat) > 90.0
    over_pole = np.where(lat > 0.0, 180.0 - lat, -180.0 - lat)
    lon = np.where(beyond, latlon_deg[..., 1] + 180.0, latlon_deg[..., 1])
    return np.stack([np.where(beyond, over_pole, lat), wrap_longitude_deg(lon)], axis=-1)


def disturb_positions(
    latlon_deg: np.ndarray,
    rng: np.random.Generator,
    collapse_share: float = 0.1,
    jitter_deg: tuple[float, float] = (0.001, 0.02),
    shift_deg: tuple[float, float] = (-0.2, 0.2),
    outlier_share: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Return noisy positions (B, T, 2) in degrees of true ones.

    A share of the clips collapses to one of its own points; the frames of the others jitter, each coordinate by an
    amount from ``jitter_deg`` with a sign of its own. Then every clip is shifted as a whole, per coordinate. Beyond the
    paper, a share of each clip's frames, drawn from ``outlier_share``, may be somewhere else altogether: at the true
    place of another frame of the batch.
    """
    clips, frames, _ = latlon_deg.shape
    frame = rng.integers(0, frames, clips)
    collapsed = np.broadcast_to(latlon_deg[np.arange(clips), frame][:, None], latlon_deg.shape)
    sign = rng.choice((-1.0, 1.0), latlon_deg.shape)
    jittered = latlon_deg + sign * rng.uniform(*jitter_deg, latlon_deg.shape)
    collapses = np.asarray(rng.random(clips) < collapse_share)
    moved = np.where(collapses[:, None, None], collapsed, jittered)
    noisy = put_on_sphere(moved + rng.uniform(*shift_deg, (clips, 1, 2)))
    if outlier_share[1] == 0.0:
        return noisy
    elsewhere = rng.permutation(latlon_deg.reshape(-1, 2)).reshape(latlon_deg.shape)
    is_outlier = rng.random((clips, frames)) < rng.uniform(*outlier_share, (clips, 1))
    return np.where(is_outlier[..., None], elsewhere, noisy)
