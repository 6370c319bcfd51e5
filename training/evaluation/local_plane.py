"""A plane in kilometres around a place: distances and directions from it are true, across seams and poles alike."""

from __future__ import annotations

import numpy as np

from vidtag_cli.geo.sphere import destination_latlon, haversine_km, initial_bearing_deg


def to_plane_km(latlon_deg: np.ndarray, centre_latlon_deg: np.ndarray) -> np.ndarray:
    """Return (N, 2) kilometres east and north of a centre (2,): the azimuthal equidistant projection."""
    centre = np.broadcast_to(centre_latlon_deg, latlon_deg.shape)
    distance_km = haversine_km(centre, latlon_deg)
    bearing = np.deg2rad(initial_bearing_deg(centre, latlon_deg))
    return np.stack([distance_km * np.sin(bearing), distance_km * np.cos(bearing)], axis=-1)


def from_plane_km(plane_km: np.ndarray, centre_latlon_deg: np.ndarray) -> np.ndarray:
    """Return the positions (N, 2) in degrees of points (N, 2) in kilometres east and north of a centre (2,)."""
    centre = np.broadcast_to(centre_latlon_deg, plane_km.shape)
    bearing_deg = np.rad2deg(np.arctan2(plane_km[:, 0], plane_km[:, 1]))
    return np.asarray(destination_latlon(centre, bearing_deg, np.hypot(plane_km[:, 0], plane_km[:, 1])))
