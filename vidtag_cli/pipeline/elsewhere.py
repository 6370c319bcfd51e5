"""Belief in places that were not searched: a gallery of one country must not make a picture of another one German.

The model's own gallery is searched beside the places that were chosen. Of it, a point lies *outside* when the disc it
stands for ends farther from every chosen point than the spacing of these. The posterior is then that over the chosen
points and those outside, each weighted by its area: probabilities, and the circles that hold a share of it, mean the
same wherever one searches. Circles that were measured with the own gallery are kept, and widened by how far the chosen
place lies from the model's own: the wider one holds the measured one, and so the true place at least as often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.posterior import sum_masses
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.within import is_within
from vidtag_cli.pipeline.calibration import RadiusTable

MAX_OUTSIDE_SHARE = 0.5
"""Beyond it the model's best guess is that the camera was at none of the places searched."""

FEW_POINTS = 100
MAX_OUTSIDE_SHARE_OF_FEW = 0.05
"""So few places are a list of suspects and no area: a 95 % circle among them means something only where nearly all of
the belief is in them.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Elsewhere:
    """The points (G,) of a model's own ``gallery`` that lie ``outside`` the places which were chosen, and by how many
    kilometres at least they do. ``radii`` are the circles that were measured with the own gallery, if any were.
    """

    gallery: Gallery
    is_outside: np.ndarray
    reach_km: float
    radii: RadiusTable | None

    def max_share(self, chosen_points: int) -> float:
        """Return which share of the belief may lie outside so many chosen points without a frame's abstaining."""
        return MAX_OUTSIDE_SHARE_OF_FEW if chosen_points < FEW_POINTS else MAX_OUTSIDE_SHARE

    def log_area(self) -> np.ndarray:
        """Return (G,) float64 logarithms of the areas in km2 that points stand for; minus infinity for those inside."""
        return np.where(self.is_outside, self.gallery.log_cell_area(), -np.inf)

    def log_partition(self, queries: np.ndarray, logit_scale: float) -> np.ndarray:
        """Return (N,) float64 logarithms of the unnormalised mass of all points outside; minus infinity for none."""
        if not self.is_outside.any():
            return np.full(len(queries), -np.inf)
        return sum_masses(self.gallery, queries, logit_scale, self.log_area())


def find_elsewhere(own: Gallery, chosen: Gallery, radii: RadiusTable | None) -> Elsewhere:
    """Return the points of a model's own gallery outside a chosen one; raises ModelError when their widths differ."""
    if own.width != chosen.width:
        raise ModelError(f"{chosen.path}: its embeddings have {chosen.width} numbers, those of the model {own.width}")
    spacing_km = float(np.sqrt(np.max(chosen.cell_area_km2)))
    extent_km = float(np.sqrt(np.max(own.cell_area_km2) / np.pi))
    reach_km = spacing_km + extent_km
    return Elsewhere(own, ~is_within(own.latlon_deg, chosen.latlon_deg, reach_km), reach_km, radii)


def outside_share(log_partition: np.ndarray, log_partition_outside: np.ndarray) -> np.ndarray:
    """Return (N,) which share of a posterior over chosen points and those outside lies outside."""
    return np.exp(log_partition_outside - np.logaddexp(log_partition, log_partition_outside))
