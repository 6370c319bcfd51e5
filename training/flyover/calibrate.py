"""What is chosen for the calibration of the demo model; the rest is fitted (SPEC 3.5)."""

from __future__ import annotations

from training.calibration import CalibrationPlan
from training.config import FlightConfig
from training.paths import PathStep

FRAMES_PER_SECOND = 1.0
"""The demo clip shows one frame of a flight in a second, and the bundle asks for that density."""

MAX_DISAGREEMENT_KM = 500.0
"""A window of a true flight spans at most 750 km; when a frame's place lies farther than this from most others of its
window, some of them are wrong. Chosen on calibration flights: beyond it the 95 % error jumps from 650 to 5,600 km."""

MAX_RADIUS95_KM = 500.0
"""An answer that may be off by more says nothing that an analyst could use: it is wider than a large country. Frames
whose circle is wider would be a fifth of those located, with circles of 970 km."""

PLACE_RADIUS_KM = 100.0

DOMAIN_SHRINKAGE = 1e-5
"""Street clips differ from flights in directions in which flights hardly vary; more shrinkage hides these. The graphs
of this model are float32: features of a half-precision engine would need more."""


def flyover_step(flights: FlightConfig, spacing_km: float) -> PathStep:
    """Return the camera of the preset's flights; the doubt about a step is the spacing of the gallery."""
    return PathStep(flights.step_km[1] * FRAMES_PER_SECOND * 3600.0, spacing_km, 1.0 / FRAMES_PER_SECOND)


def flyover_plan(flights: FlightConfig, spacing_km: float) -> CalibrationPlan:
    """Return the plan for flights as in the preset and a gallery of this spacing."""
    step = flyover_step(flights, spacing_km)
    return CalibrationPlan(PLACE_RADIUS_KM, MAX_RADIUS95_KM, MAX_DISAGREEMENT_KM, step, "flights")
