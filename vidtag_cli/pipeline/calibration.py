"""The numbers of a bundle's calibration that turn a posterior into radii and abstentions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import ModelError


@dataclass(frozen=True, slots=True)
class UncertaintyRule:
    """Fitted on held-out clips and kept in ``bundle.json`` under ``calibration.parameters`` by these names.

    ``posterior_scale`` multiplies cosines before the exponential. ``radius50_factor`` and ``radius95_factor`` multiply
    the radius of a disc of the posterior's effective area. ``place_radius_km`` is how near two gallery points are one
    place. A frame abstains when its domain distance exceeds ``max_domain_distance`` or its 95 % radius
    ``max_radius95_km``.
    """

    posterior_scale: float
    radius50_factor: float
    radius95_factor: float
    place_radius_km: float
    max_domain_distance: float
    max_radius95_km: float


def read_rule(bundle: ModelBundle) -> UncertaintyRule:
    """Return the rule of a bundle; raises ModelError when a number is missing or not positive."""
    parameters = bundle.calibration.parameters
    numbers = {}
    for name in UncertaintyRule.__dataclass_fields__:
        value = parameters.get(name)
        if value is None or not (value > 0.0) or math.isnan(value):
            raise ModelError(f"{bundle.path}: calibration.parameters.{name} must be a number above 0, found {value}")
        numbers[name] = value
    return UncertaintyRule(**numbers)
