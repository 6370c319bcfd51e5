"""A bundle from public weights: CLIP ViT-L/14 with GeoCLIP's head, location encoder and gallery (kind ``geoclip``)."""

from __future__ import annotations

import copy
import gc
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from export.bundle import AboutModel, checked_name, read_about, write_bundle
from export.geoclip.graphs import exported_graph, reference_graphs
from export.geoclip.parity import geoclip_parity, geoclip_reference
from export.geoclip.release import GeoClipRelease, published_embedding, published_encoder, read_release
from export.geoclip.tower import EMBED_DIM, ClipTower, read_clip_tower
from export.graphs.graph_files import GraphFile, graph_contracts
from export.graphs.graphs import LocationPartsGraph
from export.graphs.half_precision import SINGLE_PRECISION_GRAPHS, Precision
from export.graphs.onnx_files import export_onnx
from export.parity.report import ParityReport, format_report
from vidtag_cli import __version__
from vidtag_cli.bundle.contract import (
    GALLERY_EMBEDDING_FILE,
    GALLERY_FILE,
    SCHEMA,
    BundleContract,
    Calibration,
    Preprocess,
    Sampling,
    TrainingRecord,
    Window,
)
from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.pipeline.calibration import UNCALIBRATED

PLACE_RADIUS_KM = 25.0
"""Gallery points nearer than this are shown as one place: image geolocation counts 25 km as the right city."""

EMBEDDED_AT_ONCE = 4096
"""Places: 50 MB of the encoder's inner values."""

TELL_EVERY_S = 5.0

_log = logging.getLogger("export")


def geoclip(
    clip: Annotated[str, typer.Option(help="CLIP ViT-L/14: a folder, hub:OWNER/NAME, or random:SEED for sizing.")],
    out: Annotated[Path, typer.Option(help="The bundle to write: NAME.vidtag.")],
    precision: Annotated[
        Literal["fp32", "both"], typer.Option(help="fp32, or both: fp16 beside it for GPUs (half as large again).")
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
) -> None:
    """Make a bundle from CLIP's and GeoCLIP's public weights: it locates street and tourist footage worldwide."""
    precisions: tuple[Precision, ...] = ("fp32", "fp16") if precision == "both" else (precision,)
    checked_name(out, force)
    _log.info("reading CLIP from %s and the release of GeoCLIP", clip)
    source = PublicWeights(read_clip_tower(clip), read_release(), read_about("geoclip"), precisions)
    made, reports = write_bundle(source, out, force=force)
    for report in reports:
        typer.echo(format_report(report))
    size_bytes = sum(path.stat().st_size for path in made.path.iterdir())
    typer.echo(f"{made.path}: {size_bytes / 1e6:.1f} MB, sha256 of bundle.json {made.sha256}")


@dataclass(frozen=True, slots=True, eq=False)
class PublicWeights:
    """CLIP's image tower and GeoCLIP's release, as the source of a bundle."""

    tower: ClipTower
    release: GeoClipRelease
    about: AboutModel
    precisions: Sequence[Precision] = ("fp32",)

    def write_files(self, folder: Path) -> Sequence[GraphFile]:
        graphs = list(_write_graphs(self.tower, self.release, folder, self.precisions))
        np.save(folder / GALLERY_FILE, self.release.gallery_latlon_deg)
        _write_embedding(folder / GALLERY_EMBEDDING_FILE, self.release)
        return graphs

    def contract(self, name: str, graphs: Sequence[GraphFile], files: Mapping[str, str]) -> BundleContract:
        tower, release, about = self.tower, self.release, self.about
        origins = (tower.origin, f"package geoclip {release.version}")
        return BundleContract(
            schema=SCHEMA,
            name=name,
            kind="geoclip",
            version=about.version,
            created_with=f"vidtag {__version__}",
            graphs=graph_contracts(graphs),
            preprocess=Preprocess(tower.image_size_px, about.resize, "in graph"),
            sampling=Sampling(about.frames_per_second),
            window=Window(about.window_frames, about.overlap_frames),
            logit_scale=release.logit_scale,
            embedding_dim=_embed_dim(release),
            feature_dim=EMBED_DIM,
            location_encoder_kind="equal_earth",
            calibration=_uncalibrated(release.logit_scale),
            domain=tower.caveat + about.domain,
            training=TrainingRecord((*about.data, *origins), about.licences, 0, about.split),
            metrics={},
            files=dict(files),
        )

    def compare(self, bundle: ModelBundle) -> Iterator[ParityReport]:
        yield from geoclip_parity(bundle, geoclip_reference(self.tower, self.release))

    def parity_document(self, reports: Sequence[ParityReport]) -> dict[str, Any]:
        return {"reports": [report.document() for report in reports]}


def _write_graphs(
    tower: ClipTower, release: GeoClipRelease, folder: Path, precisions: Sequence[Precision]
) -> Iterator[GraphFile]:
    """Write all graphs, one after the other, and yield their files; a graph's first is the bundle's own."""
    side = tower.image_size_px
    sizes = {"S": side, "E": _embed_dim(release)}
    for name, graph in reference_graphs(tower.visual, release.head, release.location_encoder).items():
        of_graph: Sequence[Precision] = ("fp32",) if name in SINGLE_PRECISION_GRAPHS else precisions
        for index, precision in enumerate(of_graph):
            path = folder / (f"{name}.onnx" if index == 0 else f"{name}.{precision}.onnx")
            yield GraphFile(name, precision, export_onnx(name, exported_graph(graph, side, precision), path, sizes))
            gc.collect()  # the exporter's graphs hold the weights in circles; at full size that is gigabytes
    parts = LocationPartsGraph(copy.deepcopy(release.location_encoder).requires_grad_(False))
    path = folder / "location_encoder.parts.onnx"
    paths = export_onnx("location_encoder", parts, path, sizes, float64_as_parts=True)
    yield GraphFile("location_encoder", "fp32", paths, float64_as_parts=True)


def _write_embedding(file: Path, release: GeoClipRelease) -> None:
    """Write the embeddings of the gallery as the package computes them, ``EMBEDDED_AT_ONCE`` places at a time."""
    encoder, places = published_encoder(), release.gallery_latlon_deg
    shape = (len(places), _embed_dim(release))
    stored = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    told = time.monotonic()
    for start in range(0, len(places), EMBEDDED_AT_ONCE):
        if start == 0 or time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            _log.info("embedding the gallery: %d of %d places", start, len(places))
        block = slice(start, start + EMBEDDED_AT_ONCE)
        stored[block] = published_embedding(encoder, places[block])
    stored.flush()


def _embed_dim(release: GeoClipRelease) -> int:
    """Return the width of the embeddings that frames and places share."""
    return len(release.head[-1].weight)


def _uncalibrated(logit_scale: float) -> Calibration:
    """Return the calibration of a model with which nothing was measured: its own scale, and the sentence about it."""
    return Calibration(
        parameters={"posterior_scale": logit_scale, "place_radius_km": PLACE_RADIUS_KM},
        tables={},
        statement=UNCALIBRATED,
        measured={},
    )
