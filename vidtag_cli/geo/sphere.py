"""Formulas of the sphere for numpy arrays and torch tensors alike.

The module of the argument is used (``numpy`` or ``torch``), so training and runtime share one source and the runtime
never imports torch. Coordinates are ``(..., 2)`` arrays of latitude, longitude in degrees; the Earth is a sphere of
mean radius.
"""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import numpy as np

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG R1)."""

Array = Any
"""A numpy array or a torch tensor; what comes in decides what comes out."""


def _module_of(array: Array) -> ModuleType:
    return sys.modules["torch"] if type(array).__module__.startswith("torch") else np


def wrap_longitude_deg(lon_deg: Array) -> Array:
    """Return longitudes in [-180, 180) degrees."""
    xp = _module_of(lon_deg)
    wrapped = (lon_deg + 180.0) % 360.0 - 180.0
    # The remainder of a tiny negative number rounds up to 360: 180 itself must not come out.
    wrapped = xp.where(wrapped >= 180.0, wrapped - 360.0, wrapped)
    # What is in range already stays as it is, to the last bit.
    return xp.where((lon_deg >= -180.0) & (lon_deg < 180.0), lon_deg, wrapped)


def haversine_km(from_latlon_deg: Array, to_latlon_deg: Array) -> Array:
    """Return great-circle distances in kilometres between ``(..., 2)`` coordinates, broadcast over the leading axes."""
    xp = _module_of(from_latlon_deg)
    from_rad, to_rad = xp.deg2rad(from_latlon_deg), xp.deg2rad(to_latlon_deg)
    half_lat = xp.sin((to_rad[..., 0] - from_rad[..., 0]) / 2.0)
    half_lon = xp.sin((to_rad[..., 1] - from_rad[..., 1]) / 2.0)
    haversine = half_lat**2 + xp.cos(from_rad[..., 0]) * xp.cos(to_rad[..., 0]) * half_lon**2
    # atan2 keeps full precision for neighbours and antipodes, where arcsin or arccos lose it.
    return 2.0 * EARTH_RADIUS_KM * xp.arctan2(xp.sqrt(haversine), xp.sqrt((1.0 - haversine).clip(min=0.0)))


def unit_vector(latlon_deg: Array) -> Array:
    """Return unit vectors (..., 3): x through (0, 0), y through (0, 90 E), z through the north pole."""
    xp = _module_of(latlon_deg)
    lat, lon = xp.deg2rad(latlon_deg[..., 0]), xp.deg2rad(latlon_deg[..., 1])
    return xp.stack([xp.cos(lat) * xp.cos(lon), xp.cos(lat) * xp.sin(lon), xp.sin(lat)], -1)


def latlon_from_unit_vector(vector: Array) -> Array:
    """Return (..., 2) degrees of vectors (..., 3) of any positive length; longitude in [-180, 180)."""
    xp = _module_of(vector)
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    lat = xp.rad2deg(xp.arctan2(z, xp.sqrt(x**2 + y**2)))
    lon = xp.rad2deg(xp.arctan2(y, x))
    return xp.stack([lat, wrap_longitude_deg(lon)], -1)


def destination_latlon(latlon_deg: Array, bearing_deg: Array, distance_km: Array) -> Array:
    """Return where a great circle leads: start (..., 2), bearing clockwise from north, distance along the surface.

    The arguments must broadcast after the last axis of ``latlon_deg`` is dropped.
    """
    xp = _module_of(latlon_deg)
    lat, lon = xp.deg2rad(latlon_deg[..., 0]), xp.deg2rad(latlon_deg[..., 1])
    bearing, angle = bearing_deg * (math.pi / 180.0), distance_km / EARTH_RADIUS_KM
    sin_angle, cos_angle = _sin_cos(angle, xp)
    sin_bearing, cos_bearing = _sin_cos(bearing, xp)
    # The end point on axes through the start's meridian: not divided by cos(lat), so that a start at a pole keeps its
    # bearing, and the latitude comes from arctan2, which is exact near the poles where arcsin is not.
    outward = xp.cos(lat) * cos_angle - xp.sin(lat) * sin_angle * cos_bearing
    toward_east = sin_bearing * sin_angle
    height = xp.sin(lat) * cos_angle + xp.cos(lat) * sin_angle * cos_bearing
    end_lat = xp.rad2deg(xp.arctan2(height, xp.sqrt(outward**2 + toward_east**2)))
    end_lon = wrap_longitude_deg(xp.rad2deg(lon + xp.arctan2(toward_east, outward)))
    return xp.stack([end_lat, end_lon], -1)


def _sin_cos(angle_rad: Array, xp: ModuleType) -> tuple[Array, Array]:
    if isinstance(angle_rad, (int, float)):
        return math.sin(angle_rad), math.cos(angle_rad)
    return xp.sin(angle_rad), xp.cos(angle_rad)


def initial_bearing_deg(from_latlon_deg: Array, to_latlon_deg: Array) -> Array:
    """Return bearings in [0, 360) degrees clockwise from north at the start of the great circle."""
    xp = _module_of(from_latlon_deg)
    from_rad, to_rad = xp.deg2rad(from_latlon_deg), xp.deg2rad(to_latlon_deg)
    lon_step = to_rad[..., 1] - from_rad[..., 1]
    y = xp.sin(lon_step) * xp.cos(to_rad[..., 0])
    x = xp.cos(from_rad[..., 0]) * xp.sin(to_rad[..., 0])
    x = x - xp.sin(from_rad[..., 0]) * xp.cos(to_rad[..., 0]) * xp.cos(lon_step)
    return xp.rad2deg(xp.arctan2(y, x)) % 360.0


def interpolate_latlon(from_latlon_deg: Array, to_latlon_deg: Array, fraction: Array) -> Array:
    """Return the positions a ``fraction`` in [0, 1] along the great circles, never the long way round."""
    distance_km = haversine_km(from_latlon_deg, to_latlon_deg)
    bearing_deg = initial_bearing_deg(from_latlon_deg, to_latlon_deg)
    return destination_latlon(from_latlon_deg, bearing_deg, distance_km * fraction)


def centroid_latlon(latlon_deg: Array, weights: Array | None = None) -> Array:
    """Return the (2,) position of the mean unit vector of (N, 2) positions, with optional weights (N,).

    Raises ValueError when the positions cancel out and have no mean direction.
    """
    vectors = unit_vector(latlon_deg)
    if weights is not None:
        vectors = vectors * weights[:, None]
    mean = vectors.sum(0)
    if float((mean**2).sum()) < 1e-18:
        raise ValueError("the positions cancel out: they have no centroid on the sphere")
    return latlon_from_unit_vector(mean)


def geodesic_circle(latlon_deg: tuple[float, float], radius_km: float, vertices: int = 48) -> np.ndarray:
    """Return the (vertices, 2) ring of positions at ``radius_km`` from a centre, clockwise from north, not closed."""
    bearings_deg = np.arange(vertices) * (360.0 / vertices)
    centre = np.broadcast_to(np.asarray(latlon_deg, dtype=np.float64), (vertices, 2))
    return destination_latlon(centre, bearings_deg, radius_km)
