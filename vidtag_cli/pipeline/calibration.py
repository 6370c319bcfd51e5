"""The numbers of a bundle's calibration that turn a posterior into radii and abstentions."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import ModelError

SCALES = ("posterior_scale", "place_radius_km")
LIMITS = ("max_domain_distance", "max_disagreement_km", "max_radius95_km")
TABLES = ("posterior_radius_edges_km", "radius50_km", "radius95_km")

UNCALIBRATED = (
    "Uncalibrated: this model was never measured on videos whose places are known. A radius is that of the circle that "
    "holds 50 % or 95 % of the model's own posterior, and a probability is the model's own too; how often the true "
    "place lies inside was not measured. Whether a picture is of the kind the model knows is not checked."
)
"""What every output of an uncalibrated model says about its numbers."""

CONTINENT_KM = 2500.0
"""The coarsest distance at which image geolocation is scored: within it an answer names the continent."""


@dataclass(frozen=True, slots=True)
class UncertaintyRule:
    """Fitted on held-out clips and kept in ``bundle.json`` under ``calibration`` by these names.

    ``posterior_scale`` multiplies cosines before the exponential. ``place_radius_km`` is how near two gallery points
    are one place. Frames are sorted into bins by the radius of a disc of the posterior's effective area, cut at
    ``posterior_radius_edges_km``; each of the bins, one more than edges, has its own ``radius50_km`` and
    ``radius95_km``, the conformal quantiles of the errors seen in it. A frame abstains when its domain distance, its
    disagreement with the other frames of its window, or its 95 % radius exceeds the limit.
    """

    posterior_scale: float
    place_radius_km: float
    max_domain_distance: float
    max_disagreement_km: float
    max_radius95_km: float
    posterior_radius_edges_km: tuple[float, ...]
    radius50_km: tuple[float, ...]
    radius95_km: tuple[float, ...]

    def radii_km(self, posterior_radius_km: float) -> tuple[float, float]:
        """Return the 50 % and the 95 % radius of a frame."""
        chosen = bisect.bisect_right(self.posterior_radius_edges_km, posterior_radius_km)
        return self.radius50_km[chosen], self.radius95_km[chosen]


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


def _read_number(bundle: ModelBundle, name: str) -> float:
    value = bundle.calibration.parameters.get(name)
    if value is None or not (value > 0.0) or math.isinf(value):
        raise ModelError(f"{bundle.path}: calibration.parameters.{name} must be a number above 0, found {value}")
    return value


def _read_measured_rule(bundle: ModelBundle) -> UncertaintyRule:
    calibration = bundle.calibration
    numbers = {name: _read_number(bundle, name) for name in (*SCALES, *LIMITS)}
    tables = {name: tuple(calibration.tables.get(name, ())) for name in TABLES}
    edges, radii50, radii95 = (tables[name] for name in TABLES)
    if len(radii50) != len(edges) + 1 or len(radii95) != len(edges) + 1 or list(edges) != sorted(edges):
        raise ModelError(f"{bundle.path}: calibration.tables: rising edges and one radius more than edges are needed")
    if not all(0.0 <= half <= most < math.inf for half, most in zip(radii50, radii95, strict=True)):
        raise ModelError(f"{bundle.path}: calibration.tables: a 50 % radius must lie between 0 and the 95 % radius")
    return UncertaintyRule(**numbers, posterior_radius_edges_km=edges, radius50_km=radii50, radius95_km=radii95)
