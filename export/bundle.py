"""A trained model as a bundle: graphs exported, proven against torch, hashed, put in place in one step."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from export.about_model import AboutModel
from export.graphs import exported_graphs, graph_sizes
from export.onnx_files import StoredWeights, export_onnx
from export.parity import ParityReport, check_parity, format_report
from export.parity_cases import edge_cases
from export.parity_reference import ParityReference, parity_reference
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
    graph_contract,
    is_model_name,
)
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import ModelBundle, load_bundle
from vidtag_cli.engines.registry import open_engine
from vidtag_cli.errors import ModelError, OutputError

PARITY_FILE, DOMAIN_FILE = "parity.json", "domain.npz"
PRECISION = "fp32"
"""What the graphs compute in, however the weights are stored."""


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
    force: bool = False,
) -> tuple[ModelBundle, ParityReport]:
    """Write ``out`` (NAME.vidtag) and return it as the runtime loads it, with the comparison that let it pass.

    ``gallery_latlon_deg`` is (G, 2) float64 and kept so: float32 would move points by up to 0.85 m, and save 2 MB of a
    quarter of a million. ``domain_arrays`` go into ``domain.npz``. Everything is made in a folder beside ``out`` and
    renamed at the end, so that no half bundle is ever found. Raises OutputError when ``out`` is taken and ModelError
    when an exported graph does not give what torch gives: nothing is left behind then.
    """
    name = _checked_name(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as workspace:
        fresh = Path(workspace) / out.name
        fresh.mkdir()
        graph_files = _write_graphs(model, config, fresh, store_weights)
        np.save(fresh / GALLERY_FILE, np.ascontiguousarray(gallery_latlon_deg, dtype=np.float64))
        np.savez(fresh / DOMAIN_FILE, **domain_arrays)  # type: ignore[arg-type]  # the stub reads one as allow_pickle
        contract = _contract(name, model, config, about, calibration, metrics, fresh, graph_files)
        write_bundle_json(fresh, contract)
        reference = parity_reference(model, gallery_latlon_deg)
        report = bundle_parity(load_bundle(fresh), reference, parity_frames_rgb)
        require_parity(report, fresh)
        document = report.document() | {"stored_weights": store_weights}
        (fresh / PARITY_FILE).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")
        contract = _contract(name, model, config, about, calibration, metrics, fresh, graph_files)
        write_bundle_json(fresh, contract)
        load_bundle(fresh).gallery_latlon_deg()
        _put_in_place(fresh, out, Path(workspace) / "replaced")
    return load_bundle(out), report


def bundle_parity(
    bundle: ModelBundle, reference: ParityReference, frames_rgb: np.ndarray | None = None, engine: str = "onnxruntime"
) -> ParityReport:
    """Return the comparison of all graphs of a bundle, opened in an engine, with torch."""
    engines = {name: open_engine(graph, engine) for name, graph in bundle.graphs.items()}
    cases = edge_cases(reference, bundle.preprocess.frame_size_px, frames_rgb=frames_rgb)
    return check_parity(
        reference, lambda graph, inputs: engines[graph].run(inputs), cases, engine=engine, precision=PRECISION
    )


def require_parity(report: ParityReport, folder: Path) -> None:
    """Remove the graphs that failed from a folder and raise ModelError with the table; do nothing when none did."""
    for name in report.failed_graphs():
        for path in folder.glob(f"{name}.onnx*"):
            path.unlink()
    if report.failures():
        raise ModelError(
            f"{', '.join(report.failed_graphs())}: the exported graph does not give what torch gives and was removed\n"
            + format_report(report)
        )


def _checked_name(out: Path, force: bool) -> str:
    name = out.name.removesuffix(BUNDLE_SUFFIX)
    if out.suffix != BUNDLE_SUFFIX or not is_model_name(name):
        raise OutputError(f"{out}: a bundle's folder is called NAME{BUNDLE_SUFFIX}")
    if out.exists() and not force:
        raise OutputError(f"{out}: exists already; --force replaces it")
    return name


def _write_graphs(
    model: VidTag, config: TrainingConfig, folder: Path, store_weights: StoredWeights
) -> dict[str, tuple[Path, ...]]:
    sizes = graph_sizes(model, config.model.frame_size_px)
    graphs = exported_graphs(model, config.model.frame_size_px)
    return {
        name: export_onnx(name, graph, folder / f"{name}.onnx", sizes, store_weights) for name, graph in graphs.items()
    }


def _contract(
    name: str,
    model: VidTag,
    config: TrainingConfig,
    about: AboutModel,
    calibration: Calibration,
    metrics: Mapping[str, float],
    folder: Path,
    graph_files: Mapping[str, tuple[Path, ...]],
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
        graphs={
            graph: graph_contract(graph, paths[0].name, files[paths[0].name], PRECISION)
            for graph, paths in graph_files.items()
        },
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


def _put_in_place(fresh: Path, out: Path, replaced: Path) -> None:
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
