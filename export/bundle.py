"""A trained model as a bundle: graphs exported, proven against torch, hashed, put in place in one step."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from export.about_model import AboutModel
from export.graphs.graph_files import GraphFile, graph_contracts, write_graphs
from export.graphs.half_precision import Precision
from export.graphs.onnx_files import StoredWeights
from export.parity.bundle import bundle_parity, require_parity
from export.parity.cases import MAX_FRAMES, edge_cases
from export.parity.reference import ParityReference, parity_reference
from export.parity.report import ParityReport
from training.config import TrainingConfig
from training.model.vidtag import VidTag
from vidtag_cli import __version__
from vidtag_cli.bundle.bundle_json import write_bundle_json
from vidtag_cli.bundle.contract import (
    BUNDLE_SUFFIX,
    GALLERY_FILE,
    SCHEMA,
    BundleContract,
    Calibration,
    Preprocess,
    Sampling,
    TrainingRecord,
    Window,
    is_model_name,
)
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import ModelBundle, load_bundle
from vidtag_cli.errors import OutputError

PARITY_FILE, DOMAIN_FILE = "parity.json", "domain.npz"


def export_bundle(
    model: VidTag,
    config: TrainingConfig,
    out: Path,
    *,
    about: AboutModel,
    gallery_latlon_deg: np.ndarray,
    calibration: Calibration,
    domain_arrays: Mapping[str, np.ndarray],
    metrics: Mapping[str, float],
    parity_frames_rgb: np.ndarray | None = None,
    store_weights: StoredWeights = "float16",
    precisions: Sequence[Precision] = ("fp32",),
    for_tensorrt: bool = False,
    max_frames: int = MAX_FRAMES,
    force: bool = False,
) -> tuple[ModelBundle, tuple[ParityReport, ...]]:
    """Write ``out`` (NAME.vidtag) and return it as the runtime loads it, with the comparisons that let it pass.

    ``gallery_latlon_deg`` is (G, 2) float64 and kept so: float32 would move points by up to 0.85 m, and save 2 MB of a
    quarter of a million. ``domain_arrays`` go into ``domain.npz``. ``precisions`` and ``for_tensorrt`` say which graphs
    are written (:func:`export.graphs.graph_files.write_graphs`), and each precision is compared with torch in batches
    of up to ``max_frames``. Everything is made in a folder beside ``out`` and renamed at the end, so that no half
    bundle is ever found. Raises OutputError when ``out`` is taken and ModelError when an exported graph does not give
    what torch gives: nothing is left behind then.
    """
    name = checked_name(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as workspace:
        fresh = Path(workspace) / out.name
        fresh.mkdir()
        files = write_graphs(
            model, config.model.frame_size_px, fresh, precisions=precisions, store_weights=store_weights,
            for_tensorrt=for_tensorrt,
        )  # fmt: skip
        np.save(fresh / GALLERY_FILE, np.ascontiguousarray(gallery_latlon_deg, dtype=np.float64))
        np.savez(fresh / DOMAIN_FILE, **domain_arrays)  # type: ignore[arg-type]  # the stub reads one as allow_pickle
        write_bundle_json(fresh, _contract(name, model, config, about, calibration, metrics, fresh, files))
        reference = parity_reference(model, gallery_latlon_deg)
        reports = _require_parity_of_all(load_bundle(fresh), reference, parity_frames_rgb, precisions, max_frames)
        _write_parity(fresh, reports, store_weights)
        write_bundle_json(fresh, _contract(name, model, config, about, calibration, metrics, fresh, files))
        load_bundle(fresh).gallery_latlon_deg()
        put_in_place(fresh, out, Path(workspace) / "replaced")
    return load_bundle(out), reports


def _require_parity_of_all(
    bundle: ModelBundle,
    reference: ParityReference,
    frames_rgb: np.ndarray | None,
    precisions: Sequence[Precision],
    max_frames: int,
) -> tuple[ParityReport, ...]:
    size_px = bundle.preprocess.frame_size_px
    cases = tuple(edge_cases(reference, size_px, frames_rgb=frames_rgb, max_frames=max_frames))
    reports = []
    for precision in precisions:
        reports.append(bundle_parity(bundle, reference, precision=precision, cases=cases))
        require_parity(reports[-1], bundle.path)
    return tuple(reports)


def _write_parity(folder: Path, reports: Sequence[ParityReport], store_weights: StoredWeights) -> None:
    """Write the comparisons: that of the bundle's own precision, and below it the others."""
    own, *others = (report.document() for report in reports)
    document = own | {"stored_weights": store_weights, "other_precisions": others}
    (folder / PARITY_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")


def checked_name(out: Path, force: bool) -> str:
    """Return the name of a bundle to be written to ``out``; raises OutputError when it is no NAME.vidtag or taken."""
    name = out.name.removesuffix(BUNDLE_SUFFIX)
    if out.suffix != BUNDLE_SUFFIX or not is_model_name(name):
        raise OutputError(f"{out}: a bundle's folder is called NAME{BUNDLE_SUFFIX}")
    if out.exists() and not force:
        raise OutputError(f"{out}: exists already; --force replaces it")
    return name


def _contract(
    name: str,
    model: VidTag,
    config: TrainingConfig,
    about: AboutModel,
    calibration: Calibration,
    metrics: Mapping[str, float],
    folder: Path,
    graph_files: Sequence[GraphFile],
) -> BundleContract:
    """Return the contract of the files that now lie in ``folder``."""
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.suffix != ".json"}
    if (folder / PARITY_FILE).is_file():
        files[PARITY_FILE] = sha256_of(folder / PARITY_FILE)
    return BundleContract(
        schema=SCHEMA,
        name=name,
        kind="vidtag",
        version=about.version,
        created_with=f"vidtag {__version__}",
        graphs=graph_contracts(graph_files),
        preprocess=Preprocess(config.model.frame_size_px, about.resize, "in graph"),
        sampling=Sampling(about.frames_per_second),
        window=Window(about.window_frames, about.overlap_frames),
        logit_scale=float(model.logit_scale().detach()),
        embedding_dim=config.model.embed_dim,
        feature_dim=config.model.feature_dim,
        location_encoder_kind=model.location_encoder.kind,
        calibration=calibration,
        domain=about.domain,
        training=TrainingRecord(about.data, about.licences, config.seed, about.split),
        metrics=dict(metrics),
        files=files,
    )


def put_in_place(fresh: Path, out: Path, replaced: Path) -> None:
    """Rename a finished folder to ``out``; what was there moves to ``replaced`` and back when the renaming fails."""
    had_one = out.exists()
    if had_one:
        out.rename(replaced)
    try:
        fresh.rename(out)
    except OSError as error:
        if had_one:
            replaced.rename(out)
        raise OutputError(f"{out}: cannot be put in place: {error}") from error
    if had_one:
        shutil.rmtree(replaced)
