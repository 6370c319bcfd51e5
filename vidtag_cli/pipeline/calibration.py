"""The numbers of a bundle's calibration that turn a posterior into radii and abstentions."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, replace

from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import ModelError

SCALES = ("posterior_scale", "place_radius_km")
LIMITS = ("max_domain_distance", "max_disagreement_km", "max_radius95_km")
TABLES = ("posterior_radius_edges_km", "radius50_km", "radius95_km")
CELL_AREA = "default_cell_area_km2"
PATH_NUMBERS = ("path_max_speed_km_h", "path_doubt_km", "path_posterior_scale")
PATH_TABLES = ("path_doubt_edges", "path_radius50_km", "path_radius95_km")

UNCALIBRATED = (
    "Uncalibrated: this model was never measured on videos whose places are known. A radius is that of the circle that "
    "holds 50 % or 95 % of the model's own posterior, and a probability is the model's own too; how often the true "
    "place lies inside was not measured. Whether a picture is of the kind the model knows is not checked."
)
"""What every output of an uncalibrated model says about its numbers."""

NOT_MEASURED_THERE = (
    "Not measured with these places: a radius is that of the circle that holds 50 % or 95 % of the model's own "
    "posterior among them, and a probability is the model's own too; how often the true place lies inside is unknown."
)
"""What every output of a measured model says about its numbers when it searched other places than its own."""

COUNTRY_KM = 750.0
"""The next finer one, within which an answer names the country. Harmless changes of a picture may move its place so
far, by a model that sees each frame by itself: chosen, not fitted.
"""

CONTINENT_KM = 2500.0
"""The coarsest distance at which image geolocation is scored: within it an answer names the continent."""


@dataclass(frozen=True, slots=True)
class RadiusTable:
    """Radii by a number that rises with doubt, cut at ``edges`` into bins, one more than edges: each bin has the
    conformal quantiles of the errors seen in it.
    """

    edges: tuple[float, ...]
    radius50_km: tuple[float, ...]
    radius95_km: tuple[float, ...]

    def radii_km(self, doubt: float) -> tuple[float, float]:
        """Return the 50 % and the 95 % radius of a frame; raises ValueError for a doubt that is no number."""
        if math.isnan(doubt):
            raise ValueError("a doubt that is no number has no radius")
        number = bisect.bisect_right(self.edges, doubt)
        return self.radius50_km[number], self.radius95_km[number]


@dataclass(frozen=True, slots=True)
class MeasuredPath:
    """What was measured of paths through the places of held-out clips at one limit of speed.

    ``doubt_km`` is how far a step may reach beyond the way at full speed; ``posterior_scale`` multiplies the cosines of
    Phase I; ``radii`` go by the share of all paths that pass elsewhere, from 0 to 1; None where they do not hold.
    """

    max_speed_km_h: float
    doubt_km: float
    posterior_scale: float
    radii: RadiusTable | None


@dataclass(frozen=True, slots=True)
class UncertaintyRule:
    """Fitted on held-out clips and kept in ``bundle.json`` under ``calibration``.

    ``posterior_scale`` multiplies cosines before the exponential. ``place_radius_km`` is how near two gallery points
    are one place. ``radii`` go by the radius in km of a disc of the posterior's effective area; None where they do not
    hold, and the posterior's own circles must do. A frame abstains when its domain distance, its disagreement with the
    other frames of its window, or its 95 % radius exceeds the limit. ``path`` is there when smoothed tracks were
    measured too.
    """

    posterior_scale: float
    place_radius_km: float
    max_domain_distance: float
    max_disagreement_km: float
    max_radius95_km: float
    radii: RadiusTable | None
    path: MeasuredPath | None = None

    def among_other_places(self) -> UncertaintyRule:
        """Return what holds in a gallery that nothing was measured with: all but the radii."""
        path = None if self.path is None else replace(self.path, radii=None)
        return replace(self, radii=None, path=path)


@dataclass(frozen=True, slots=True)
class UncalibratedRule:
    """What is left when nothing was measured: the posterior itself, and no claim about the world.

    ``posterior_scale`` and ``place_radius_km`` are as in :class:`UncertaintyRule`, but the scale is the one the model
    was trained with. A frame abstains when the circle that holds half of its posterior is wider than
    ``max_radius50_km``. That limit is chosen, not fitted: beyond it not even a continent is named.
    """

    posterior_scale: float
    place_radius_km: float
    max_radius50_km: float = CONTINENT_KM


def read_rule(bundle: ModelBundle) -> UncertaintyRule | UncalibratedRule:
    """Return the rule of a bundle; raises ModelError when a number or table is missing or makes no sense."""
    if bundle.calibration.is_measured:
        return _read_measured_rule(bundle)
    limits = sorted(bundle.calibration.parameters.keys() & set(LIMITS))
    if limits:
        raise ModelError(f"{bundle.path}: calibration.parameters.{limits[0]} is a limit, but nothing was measured")
    return UncalibratedRule(*(_read_number(bundle, name) for name in SCALES))


def read_cell_area_km2(bundle: ModelBundle) -> float | None:
    """Return the area that a place of the bundle's own gallery stands for, None where it is to be worked out from the
    places; raises ModelError when it is none.
    """
    return _read_number(bundle, CELL_AREA) if CELL_AREA in bundle.calibration.parameters else None


def _read_number(bundle: ModelBundle, name: str) -> float:
    value = bundle.calibration.parameters.get(name)
    if value is None or not (value > 0.0):
        raise ModelError(f"{bundle.path}: calibration.parameters.{name} must be a number above 0, found {value}")
    least, most = (1e-9, 1e4 if name.endswith("_scale") else 1e9)
    if not least <= value <= most:
        raise ModelError(
            f"{bundle.path}: calibration.parameters.{name}: "
            f"expected a number from {least:g} to {most:g}, found {value:g}"
        )
    return value


def _read_measured_rule(bundle: ModelBundle) -> UncertaintyRule:
    numbers = {name: _read_number(bundle, name) for name in (*SCALES, *LIMITS)}
    return UncertaintyRule(**numbers, radii=_read_table(bundle, TABLES), path=_read_path(bundle))


def _read_path(bundle: ModelBundle) -> MeasuredPath | None:
    calibration = bundle.calibration
    if not {*calibration.parameters, *calibration.tables} & {*PATH_NUMBERS, *PATH_TABLES}:
        return None
    max_speed_km_h, doubt_km, scale = (_read_number(bundle, name) for name in PATH_NUMBERS)
    return MeasuredPath(max_speed_km_h, doubt_km, scale, _read_table(bundle, PATH_TABLES))


def _read_table(bundle: ModelBundle, names: tuple[str, str, str]) -> RadiusTable:
    edges, radii50, radii95 = (tuple(bundle.calibration.tables.get(name, ())) for name in names)
    is_rising = all(low <= high for low, high in zip(edges, edges[1:], strict=False))
    if (
        len(radii50) != len(edges) + 1
        or len(radii95) != len(edges) + 1
        or not is_rising
        or not all(map(math.isfinite, edges))
    ):
        raise ModelError(
            f"{bundle.path}: calibration.tables.{names[0]}: rising edges and one radius more than edges are needed"
        )
    if not all(0.0 <= half <= most < math.inf for half, most in zip(radii50, radii95, strict=True)):
        raise ModelError(
            f"{bundle.path}: calibration.tables.{names[1]}: a 50 % radius must lie between 0 and the 95 % radius"
        )
    return RadiusTable(edges, radii50, radii95)
