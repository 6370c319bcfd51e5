"""Lines, rings and boxes that meet the antimeridian: map formats want them cut at longitude 180."""

from __future__ import annotations

import numpy as np

from vidtag_cli.geo.sphere import unit_vector, wrap_longitude_deg

LONGEST_PARTITION_STEP_DEG = 90.0


def split_line_at_antimeridian(latlon_deg: np.ndarray) -> list[np.ndarray]:
    """Return the parts of a (N, 2) polyline cut where it crosses longitude 180, each with longitudes in [-180, 180].

    A crossing point is computed on the great circle and ends one part at 180 (or -180) and begins the next at the
    other sign. A line that only touches the antimeridian is not cut. For formats that forbid 180.0 or invented points
    see ``split_without_new_points``.
    """
    line = np.asarray(latlon_deg, dtype=np.float64)
    if len(line) < 2:
        return [_wrapped(line)] if len(line) else []
    wrapped, turns = _wrapped(line), _turns(line)
    unwrapped = _unwrap(line)
    sheet = 0
    parts: list[list[tuple[float, float]]] = [[(float(wrapped[0, 0]), float(wrapped[0, 1]))]]
    for row, (start, end) in enumerate(zip(unwrapped[:-1], unwrapped[1:], strict=True), start=1):
        direction = int(np.sign(end[1] - start[1]))
        seam_deg = sheet * 360.0 + direction * 180.0
        if direction and (end[1] - seam_deg) * direction > 0.0:
            lat_deg = _latitude_at_antimeridian(start, end, seam_deg)
            if parts[-1][-1] != (lat_deg, direction * 180.0):
                parts[-1].append((lat_deg, direction * 180.0))
            parts.append([(lat_deg, -direction * 180.0)])
            sheet += direction
        # Whole turns are added to the wrapped longitude: taking 360 off again would lose its last bits.
        parts[-1].append((float(end[0]), float(wrapped[row, 1] + 360.0 * (turns[row] - sheet))))
    # A first point that lies on the seam leaves a part of one point behind: it also begins the next part.
    return [np.array(part) for part in parts if len(part) > 1]


def split_without_new_points(latlon_deg: np.ndarray) -> list[np.ndarray]:
    """Return the parts of a (N, 2) polyline cut between the points whose segment crosses longitude 180.

    No point is added or lost, longitudes lie in [-180, 180) as GPX asks, and a part may hold a single point.
    """
    line = _wrapped(np.asarray(latlon_deg, dtype=np.float64))
    if len(line) == 0:
        return []
    return np.split(line, np.flatnonzero(np.abs(np.diff(line[:, 1])) > 180.0) + 1)


def split_ring_at_antimeridian(ring_latlon_deg: np.ndarray) -> list[np.ndarray]:
    """Return closed counter-clockwise rings (V, 2), longitudes in [-180, 180], that together cover the inside of a
    ring.

    The inside lies to the right of the direction of travel (clockwise), as in ``geodesic_circle``, whether it holds no
    pole, one or, for a circle of more than a quarter of the globe, both. A ring that holds a pole is closed along
    longitude 180.
    """
    ring = _unwrap(_closed(np.asarray(ring_latlon_deg, dtype=np.float64)))
    turns = round((ring[-1, 1] - ring[0, 1]) / 360.0)
    if turns:
        # Travelling west the inside, on the right hand, is the north.
        polygons = [_close_through_pole(ring, pole_lat_deg=90.0 if turns < 0 else -90.0)]
    elif _signed_area(ring) > 0.0:
        polygons = [part for outside in _world_without(ring) for part in _cut_by_sheets(outside)]
    else:
        polygons = _cut_by_sheets(ring)
    return [_counter_clockwise(polygon) for polygon in polygons]


def bounding_box(latlon_deg: np.ndarray) -> tuple[float, float, float, float]:
    """Return (west, south, east, north) degrees of the smallest box around (N, 2) positions; west > east when it
    crosses 180.

    The longitude of a position at a pole means nothing and does not widen the box. Raises ValueError for no positions.
    """
    positions = _wrapped(np.asarray(latlon_deg, dtype=np.float64))
    if len(positions) == 0:
        raise ValueError("no positions: they have no bounding box")
    south, north = float(positions[:, 0].min()), float(positions[:, 0].max())
    lon = positions[np.abs(positions[:, 0]) < 90.0, 1]
    lon = np.unique(lon if lon.size else positions[:1, 1])
    gaps = np.diff(lon, append=lon[0] + 360.0)
    # Of equal gaps the one at the antimeridian wins, so that a whole Earth is -180 to 180 and not cut anywhere else.
    gap = len(lon) - 1 if gaps[-1] >= gaps.max() - 1e-9 else int(gaps.argmax())
    return float(lon[(gap + 1) % len(lon)]), south, float(lon[gap]), north


def _wrapped(latlon_deg: np.ndarray) -> np.ndarray:
    lon_deg = latlon_deg[..., 1]
    # Wrapping rounds; a longitude that is in range stays as it is to the last bit.
    in_range = (lon_deg >= -180.0) & (lon_deg < 180.0)
    return np.stack([latlon_deg[..., 0], np.where(in_range, lon_deg, wrap_longitude_deg(lon_deg))], axis=-1)


def _unwrap(latlon_deg: np.ndarray) -> np.ndarray:
    """Return the line with longitudes that run on past 180 instead of jumping."""
    wrapped = _wrapped(latlon_deg)
    return np.stack([wrapped[:, 0], wrapped[:, 1] + 360.0 * _turns(latlon_deg)], axis=-1)


def _turns(latlon_deg: np.ndarray) -> np.ndarray:
    """Return how many times each point has gone round the globe eastwards since the first, as whole numbers."""
    lon_deg = _wrapped(latlon_deg)[:, 1]
    return np.cumsum(-np.round(np.diff(lon_deg, prepend=lon_deg[0]) / 360.0)).astype(np.int64)


def _sheet_of(lon_deg: float) -> int:
    return int(np.floor((lon_deg + 180.0) / 360.0))


def _latitude_at_antimeridian(start: np.ndarray, end: np.ndarray, seam_deg: float) -> float:
    """Return the latitude at which the great circle from ``start`` to ``end`` meets the meridian ``seam_deg`` (180 + n
    360).
    """
    if start[1] == seam_deg:
        return float(start[0])
    from_vector, to_vector = unit_vector(start), unit_vector(end)
    normal = np.cross(from_vector, to_vector)
    meeting = np.array([-normal[2], 0.0, normal[0]])  # normal x (0, 1, 0): in both planes
    length = float(np.linalg.norm(meeting))
    if length < 1e-12:  # along a pole or between antipodes: any great circle will do
        return float(start[0] + end[0]) / 2.0
    if meeting @ (from_vector + to_vector) < 0.0:
        meeting = -meeting
    return float(np.rad2deg(np.arctan2(meeting[2], np.hypot(meeting[0], meeting[1]))))


def _closed(ring: np.ndarray) -> np.ndarray:
    return ring if np.array_equal(ring[0], ring[-1]) else np.concatenate([ring, ring[:1]])


def _signed_area(ring: np.ndarray) -> float:
    lat, lon = ring[:, 0], ring[:, 1]
    return float(np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1])) / 2.0


def _close_through_pole(ring: np.ndarray, pole_lat_deg: float) -> np.ndarray:
    parts = split_line_at_antimeridian(ring)
    # The ring goes round once, from its first vertex to 180 and on to that vertex again: join it to run from seam to
    # seam.
    line = parts[0] if len(parts) == 1 else np.concatenate([*parts[1:], parts[0][1:]])
    return np.concatenate([line, [[pole_lat_deg, line[-1, 1]], [pole_lat_deg, line[0, 1]]], line[:1]])


def _world_without(hole: np.ndarray) -> list[np.ndarray]:
    """Return the rest of the world beside a counter-clockwise hole as a northern and a southern ring, longitudes
    unwrapped.
    """
    vertices = hole[:-1]
    vertices = np.roll(vertices, -int(vertices[:, 1].argmin()), axis=0)
    east = int(vertices[:, 1].argmax())
    lower, upper = vertices[: east + 1], np.concatenate([vertices[east:], vertices[:1]])[::-1]
    far_end = vertices[0] + [0.0, 360.0]
    steps = int(np.ceil((far_end[1] - vertices[east, 1]) / LONGEST_PARTITION_STEP_DEG))
    partition = np.linspace(vertices[east], far_end, steps + 1)[1:]
    rings = []
    for chain, pole in ((upper, 90.0), (lower, -90.0)):
        corners = np.array([[pole, far_end[1]], [pole, vertices[0, 1]]])
        rings.append(np.concatenate([chain, partition, corners, chain[:1]]))
    return rings


def _cut_by_sheets(ring: np.ndarray) -> list[np.ndarray]:
    """Return the pieces of an unwrapped closed ring that lie on each turn of longitudes, moved to [-180, 180]."""
    pieces = []
    for sheet in range(_sheet_of(ring[:, 1].min()), _sheet_of(ring[:, 1].max()) + 1):
        west_deg, east_deg = sheet * 360.0 - 180.0, sheet * 360.0 + 180.0
        piece = _clip(_clip(ring[:-1], west_deg, keep_sign=1.0), east_deg, keep_sign=-1.0)
        if len(piece) >= 3 and np.ptp(piece[:, 1]) > 0.0:
            piece = piece - [0.0, 360.0 * sheet]
            pieces.append(np.concatenate([piece, piece[:1]]))
    return pieces


def _clip(vertices: np.ndarray, seam_deg: float, keep_sign: float) -> np.ndarray:
    """Return the vertices of an open ring on one side of a meridian (Sutherland and Hodgman 1974)."""
    kept: list[np.ndarray] = []
    for start, end in zip(np.roll(vertices, 1, axis=0), vertices, strict=True):
        start_side, end_side = (start[1] - seam_deg) * keep_sign, (end[1] - seam_deg) * keep_sign
        if start_side * end_side < 0.0:
            kept.append(np.array([_latitude_at_antimeridian(start, end, seam_deg), seam_deg]))
        if end_side >= 0.0:
            kept.append(end)
    return np.array(kept).reshape(-1, 2)


def _counter_clockwise(ring: np.ndarray) -> np.ndarray:
    return ring if _signed_area(ring) > 0.0 else ring[::-1].copy()
