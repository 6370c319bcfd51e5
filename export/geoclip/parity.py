"""Does a GeoCLIP bundle give what torch gives? The cases and the reference for :mod:`export.parity.report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from export.geoclip.graphs import reference_graphs
from export.geoclip.release import GeoClipRelease
from export.geoclip.tower import ClipTower
from export.parity.bundle import engine_runner
from export.parity.cases import ParityCase, synthetic_frames
from export.parity.reference import ParityReference, PositionShift
from export.parity.report import ParityReport, check_parity
from vidtag_cli.bundle.load import ModelBundle, ModelGraph

_POINTS = 500
_GALLERY_SAMPLE = 5000
"""So many gallery points are enough to see a predicted position move, and are embedded in a few seconds."""

_EDGE_LATLON_DEG = np.array([
    [90.0, 0.0], [-90.0, 0.0], [0.0, 0.0], [0.0, -180.0], [0.0, 179.999_999], [-17.0, 180.001], [66.0, -180.001],
    [48.8584, 2.2945],
])  # fmt: skip
"""Poles, the origin, both sides of the antimeridian and a little beyond, where a gallery looks for its aliases."""


@dataclass(frozen=True, slots=True)
class GeoClipReference:
    """The published model in torch, and where on the ground its embeddings point."""

    places: ParityReference

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the named outputs of a graph in torch, float32."""
        return self.places.run(graph, inputs)

    def shift(
        self,
        graph: str,
        inputs: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray],
        actual: Mapping[str, np.ndarray],
    ) -> PositionShift:
        """Return how far predictions move when an engine's outputs take the place of torch's."""
        # An image's embedding is searched as TempGeo's frame embedding is, and has the same name.
        return self.places.shift("tempgeo" if graph == "image_encoder" else graph, inputs, expected, actual)


def geoclip_reference(tower: ClipTower, release: GeoClipRelease) -> GeoClipReference:
    """Return the reference of a model; a sample of its gallery is embedded in torch."""
    graphs = reference_graphs(tower.visual, release.head, release.location_encoder)
    sample = release.gallery_latlon_deg[:: max(1, len(release.gallery_latlon_deg) // _GALLERY_SAMPLE)]
    with torch.no_grad():
        embedding = release.location_encoder(torch.from_numpy(np.ascontiguousarray(sample))).numpy()
    return GeoClipReference(ParityReference(graphs, release.location_encoder, release.logit_scale, sample, embedding))


def geoclip_cases(frame_size_px: int, seed: int = 0) -> Iterator[ParityCase]:
    """Yield the cases of both graphs: batches and pictures that break exports, places at seams and everywhere."""
    rng = np.random.default_rng(seed)
    pictures = synthetic_frames(frame_size_px, rng)
    shape = (1, frame_size_px, frame_size_px, 3)
    plain = np.concatenate([np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)])
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    batches = {"black and white": plain, "noise": noise, "one frame": pictures[:1], "five frames": pictures[:5]}
    for name, frames_rgb in batches.items():
        yield ParityCase("image_encoder", name, {"frames_rgb": frames_rgb})
    lat_deg = np.rad2deg(np.arcsin(rng.uniform(-1.0, 1.0, _POINTS)))
    spread = np.stack([lat_deg, rng.uniform(-180.0, 180.0, _POINTS)], axis=-1)
    for name, latlon_deg in {
        "one place": spread[:1],
        "poles and seam": _EDGE_LATLON_DEG,
        "whole Earth": spread,
    }.items():
        yield ParityCase("location_encoder", name, {"latlon_deg": latlon_deg})


def geoclip_parity(bundle: ModelBundle, reference: GeoClipReference) -> tuple[ParityReport, ...]:
    """Return the comparisons of all files of a bundle with torch: one for every precision, the bundle's own first.

    The last is that of the location encoder for engines without float64.
    """
    cases = tuple(geoclip_cases(bundle.preprocess.frame_size_px))
    reports = [_compare(bundle.graphs_for(precision), precision, reference, cases) for precision in bundle.precisions()]
    places = tuple(case for case in cases if case.graph == "location_encoder")
    reports.append(_compare(bundle.graphs_for("fp32", has_float64=False), "fp32", reference, places))
    return tuple(reports)


def _compare(
    graphs: Mapping[str, ModelGraph], precision: str, reference: GeoClipReference, cases: Sequence[ParityCase]
) -> ParityReport:
    with engine_runner(graphs, "onnxruntime") as run:
        return check_parity(reference, run, cases, precision=precision)  # type: ignore[arg-type]  # run and shift suffice
