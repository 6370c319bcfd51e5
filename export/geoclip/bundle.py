"""A bundle from public weights: CLIP ViT-L/14 with GeoCLIP's head, location encoder and gallery (kind ``geoclip``)."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from export.about_model import AboutModel, read_about
from export.bundle import checked_name, put_in_place
from export.geoclip.graphs import exported_graph, reference_graphs
from export.geoclip.parity import geoclip_parity, geoclip_reference
from export.geoclip.release import GeoClipRelease, published_embedding, published_encoder, read_release
from export.geoclip.tower import EMBED_DIM, ClipTower, read_clip_tower
from export.graphs.graph_files import GraphFile, graph_contracts
from export.graphs.graphs import LocationPartsGraph
from export.graphs.half_precision import SINGLE_PRECISION_GRAPHS, Precision
from export.graphs.onnx_files import export_onnx
from export.parity.bundle import require_parity
from export.parity.report import ParityReport, format_report
from vidtag_cli import __version__
from vidtag_cli.bundle.bundle_json import write_bundle_json
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
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import ModelBundle, load_bundle
from vidtag_cli.pipeline.calibration import UNCALIBRATED

PARITY_FILE = "parity.json"

PLACE_RADIUS_KM = 25.0
"""Gallery points nearer than this are shown as one place: image geolocation counts 25 km as the right city."""

EMBEDDED_AT_ONCE = 4096
"""Places: 50 MB of the encoder's inner values."""


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
    made, reports = export_geoclip(read_clip_tower(clip), read_release(), out, precisions=precisions, force=force)
    for report in reports:
        typer.echo(format_report(report))
    size_bytes = sum(path.stat().st_size for path in made.path.iterdir())
    typer.echo(f"{made.path}: {size_bytes / 1e6:.1f} MB, sha256 of bundle.json {made.sha256}")


def export_geoclip(
    tower: ClipTower,
    release: GeoClipRelease,
    out: Path,
    *,
    precisions: Sequence[Precision] = ("fp32",),
    force: bool = False,
) -> tuple[ModelBundle, tuple[ParityReport, ...]]:
    """Write ``out`` (NAME.vidtag) and return it as the runtime loads it, with the comparisons that let it pass.

    Raises OutputError when ``out`` is taken and ModelError when an exported graph does not give what torch gives:
    nothing is left behind then.
    """
    name = checked_name(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as workspace:
        fresh = Path(workspace) / out.name
        fresh.mkdir()
        graph_files = list(_write_graphs(tower, release, fresh, precisions))
        np.save(fresh / GALLERY_FILE, release.gallery_latlon_deg)
        _write_embedding(fresh / GALLERY_EMBEDDING_FILE, release)
        contract = _contract(name, tower, release, read_about("geoclip"), graph_files, fresh)
        write_bundle_json(fresh, contract)
        reports = geoclip_parity(load_bundle(fresh), geoclip_reference(tower, release))
        for report in reports:
            require_parity(report, fresh)
        document = {"reports": [report.document() for report in reports]}
        (fresh / PARITY_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")
        files = contract.files | {PARITY_FILE: sha256_of(fresh / PARITY_FILE)}
        write_bundle_json(fresh, dataclasses.replace(contract, files=files))
        load_bundle(fresh).gallery_latlon_deg()
        put_in_place(fresh, out, Path(workspace) / "replaced")
    return load_bundle(out), reports


def _write_graphs(
    tower: ClipTower, release: GeoClipRelease, folder: Path, precisions: Sequence[Precision]
) -> Iterator[GraphFile]:
    """Write all graphs, one after the other, and yield their files; a graph's first is the bundle's own."""
    side = tower.image_size_px
    sizes = {"S": side, "E": embed_dim(release)}
    for name, graph in reference_graphs(tower.visual, release.head, release.location_encoder).items():
        wanted: Sequence[Precision] = ("fp32",) if name in SINGLE_PRECISION_GRAPHS else precisions
        for index, precision in enumerate(wanted):
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
    shape = (len(places), embed_dim(release))
    stored = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(places), EMBEDDED_AT_ONCE):
        block = slice(start, start + EMBEDDED_AT_ONCE)
        stored[block] = published_embedding(encoder, places[block])
    stored.flush()


def _contract(
    name: str,
    tower: ClipTower,
    release: GeoClipRelease,
    about: AboutModel,
    graph_files: Sequence[GraphFile],
    folder: Path,
) -> BundleContract:
    """Return the contract of the files that now lie in ``folder``."""
    origins = (tower.origin, f"package geoclip {release.version}")
    return BundleContract(
        schema=SCHEMA,
        name=name,
        kind="geoclip",
        version=about.version,
        created_with=f"vidtag {__version__}",
        graphs=graph_contracts(graph_files),
        preprocess=Preprocess(tower.image_size_px, about.resize, "in graph"),
        sampling=Sampling(about.frames_per_second),
        window=Window(about.window_frames, about.overlap_frames),
        logit_scale=release.logit_scale,
        embedding_dim=embed_dim(release),
        feature_dim=EMBED_DIM,
        location_encoder_kind="equal_earth",
        calibration=uncalibrated(release.logit_scale),
        domain=tower.caveat + about.domain,
        training=TrainingRecord((*about.data, *origins), about.licences, 0, about.split),
        metrics={},
        files={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    )


def embed_dim(release: GeoClipRelease) -> int:
    """Return the width of the embeddings that frames and places share."""
    return len(release.head[-1].weight)


def uncalibrated(logit_scale: float) -> Calibration:
    """Return the calibration of a model with which nothing was measured: its own scale, and the sentence about it."""
    return Calibration(
        parameters={"posterior_scale": logit_scale, "place_radius_km": PLACE_RADIUS_KM},
        tables={},
        statement=UNCALIBRATED,
        measured={},
    )
