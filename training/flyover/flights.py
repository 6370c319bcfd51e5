"""Seeded flights over land: where the camera is, where it heads, what it sees of the ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.config import FlightConfig
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.land import is_land
from vidtag_cli.geo.sphere import destination_latlon, initial_bearing_deg

_COAST_BEARINGS_DEG = np.arange(8) * 45.0
_ISLAND_KM = 250.0

SPACING_KM = 25.0


@dataclass(frozen=True, slots=True)
class Flights:
    """``latlon_deg`` (B, T, 2) float64, ``heading_deg`` (B, T), ``footprint_km`` (B,), ``style`` (B,) index of
    imagery.
    """

    latlon_deg: np.ndarray
    heading_deg: np.ndarray
    footprint_km: np.ndarray
    style: np.ndarray

    def __len__(self) -> int:
        return len(self.latlon_deg)

    def select(self, rows: np.ndarray) -> Flights:
        """Return the flights of these numbers."""
        return Flights(self.latlon_deg[rows], self.heading_deg[rows], self.footprint_km[rows], self.style[rows])

    @classmethod
    def join(cls, parts: Sequence[Flights]) -> Flights:
        """Return the flights of all parts, of which there is at least one."""
        return cls(
            np.concatenate([part.latlon_deg for part in parts]),
            np.concatenate([part.heading_deg for part in parts]),
            np.concatenate([part.footprint_km for part in parts]),
            np.concatenate([part.style for part in parts]),
        )


def near_land(latlon_deg: np.ndarray, coast_km: float) -> np.ndarray:
    """Return (N,) whether a position is on land or has land at ``coast_km`` in one of eight directions."""
    is_near = is_land(latlon_deg)
    for bearing_deg in _COAST_BEARINGS_DEG:
        is_near |= is_land(destination_latlon(latlon_deg, bearing_deg, coast_km))
    return is_near


def is_small_island(latlon_deg: np.ndarray) -> np.ndarray:
    """Return (N,) whether a position has land at 250 km in at most one of eight directions."""
    bearings = [is_land(destination_latlon(latlon_deg, bearing_deg, _ISLAND_KM)) for bearing_deg in _COAST_BEARINGS_DEG]
    return np.sum(bearings, axis=0) <= 1


def draw_flights(
    config: FlightConfig,
    count: int,
    rng: np.random.Generator,
    box: tuple[float, float, float, float] | None = None,
    frames: int | None = None,
    island_share: float = 0.0,
    over_land: bool = True,
) -> Flights:
    """Return ``count`` flights that stay near land and inside the latitudes, uniform over the area they may start from.

    ``box`` (south, west, north, east; it may span the antimeridian) limits where a flight starts, for tests of a
    region. ``island_share`` of the flights start on small islands instead, which are too little of the Earth's area to
    be learned otherwise: for training only. Flights are anywhere, also at sea, unless ``over_land``.
    """
    on_islands = round(count * island_share)
    if on_islands:
        sets = (_draw(config, count - on_islands, rng, box, frames), _draw(config, on_islands, rng, box, frames, True))
        latlon, heading = (np.concatenate(parts) for parts in zip(*sets, strict=True))
        mixed = rng.permutation(count)
        latlon, heading = latlon[mixed], heading[mixed]
    else:
        latlon, heading = _draw(config, count, rng, box, frames, over_land=over_land)
    return Flights(latlon, heading, rng.uniform(*config.footprint_km, count), rng.integers(0, 2, count))


def _draw(
    config: FlightConfig,
    count: int,
    rng: np.random.Generator,
    box: tuple[float, float, float, float] | None,
    frames: int | None,
    on_islands: bool = False,
    over_land: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (count, T, 2) and headings (count, T) of accepted flights."""
    frames = frames or config.frames
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    total = 0
    while total < count:
        start = _draw_starts(config, 2 * count, rng, box, on_islands, over_land)
        path, heading = _fly(config, start, frames, rng)
        inside = (path[..., 0] >= config.latitude_deg[0]) & (path[..., 0] <= config.latitude_deg[1])
        seen = inside
        if over_land:
            seen = inside & near_land(path.reshape(-1, 2), config.coast_km).reshape(inside.shape)
        good = seen.all(1)
        kept.append((path[good], heading[good]))
        total += int(good.sum())
    latlon = np.concatenate([path for path, _ in kept])[:count]
    heading = np.concatenate([heading for _, heading in kept])[:count]
    return latlon, heading


def _draw_starts(
    config: FlightConfig,
    count: int,
    rng: np.random.Generator,
    box: tuple[float, float, float, float] | None,
    on_islands: bool,
    over_land: bool,
) -> np.ndarray:
    """Return (M, 2) positions, of land where ``over_land``, uniform by area: the sine of the latitude is uniform."""
    south, west, north, east = box or (config.latitude_deg[0], -180.0, config.latitude_deg[1], 180.0)
    drawn = (200 if on_islands else 4) * count
    sine = rng.uniform(np.sin(np.radians(south)), np.sin(np.radians(north)), drawn)
    span_deg = (east - west) % 360.0 or 360.0
    lon_deg = (west + rng.uniform(0.0, span_deg, drawn) + 180.0) % 360.0 - 180.0
    starts = np.stack([np.degrees(np.arcsin(sine)), lon_deg], axis=-1)
    if over_land:
        starts = starts[is_land(starts)]
    if on_islands:
        starts = starts[is_small_island(starts)]
    return starts[:count]


def _fly(
    config: FlightConfig, start: np.ndarray, frames: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (M, T, 2) and headings (M, T): the turn rate drifts smoothly, great-circle steps between."""
    count = len(start)
    step_km = rng.uniform(*config.step_km, count)
    heading = rng.uniform(0.0, 360.0, count)
    turn = rng.normal(0.0, config.turn_deg_per_frame, count)
    position, path, headings = start, [start], [heading]
    for _ in range(frames - 1):
        turn = 0.8 * turn + 0.6 * rng.normal(0.0, config.turn_deg_per_frame, count)
        ahead = destination_latlon(position, heading, step_km)
        # The course along a great circle changes with the meridian: carry it on from the end of the step.
        heading = (initial_bearing_deg(ahead, position) + 180.0 + turn) % 360.0
        position = ahead
        path.append(position)
        headings.append(heading)
    return np.stack(path, axis=1), np.stack(headings, axis=1)


def flyover_gallery(config: FlightConfig, spacing_km: float = SPACING_KM) -> np.ndarray:
    """Return places (G, 2): an even grid over the land and its coast between the latitudes of the flights."""
    south, north = config.latitude_deg
    grid = equal_area_grid(spacing_km, south_deg=south, north_deg=north)
    return grid[near_land(grid, config.coast_km) | near_land(grid, config.coast_km / 2.0)]
