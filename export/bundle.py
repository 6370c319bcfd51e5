"""A bundle from a model: graphs exported, proven against torch, hashed, put in place in one step."""

from __future__ import annotations

import dataclasses
import json
import logging
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from export.graphs.graph_files import GraphFile, graph_contracts, write_graphs
from export.graphs.half_precision import Precision
from export.graphs.onnx_files import StoredWeights
from export.parity.bundle import bundle_parity, require_parity
from export.parity.cases import MAX_FRAMES, edge_cases
from export.parity.reference import parity_reference
from export.parity.report import ParityReport
from training.run.folder import FinishedRun
from vidtag_cli import __version__
from vidtag_cli.bundle.bundle_json import write_bundle_json
from vidtag_cli.bundle.contract import (
    BUNDLE_JSON,
    BUNDLE_SUFFIX,
    GALLERY_FILE,
    SCHEMA,
    BundleContract,
    Preprocess,
    Sampling,
    TrainingRecord,
    Window,
    is_model_name,
)
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import ModelBundle, load_bundle
from vidtag_cli.errors import InputError, OutputError
from vidtag_cli.files import replace_file, replace_folder
from vidtag_cli.strict_values import StrictValueError, decode

_log = logging.getLogger("export")

PARITY_FILE, DOMAIN_FILE = "parity.json", "domain.npz"

ABOUT_FOLDER = Path(__file__).parent / "about"


@dataclass(frozen=True, slots=True)
class AboutModel:
    """The statements of a bundle that no training run measures."""

    version: str
    domain: str
    frames_per_second: float
    resize: Literal["squash", "center_crop"]
    window_frames: int
    overlap_frames: int
    data: tuple[str, ...]
    licences: tuple[str, ...]
    split: str


def read_about(name: str, path: Path | None = None) -> AboutModel:
    """Return the statements of ``path``, or else those kept for the preset ``name``.

    Raises InputError when there is no such file or a key is missing, unknown or of the wrong type.
    """
    file = path or ABOUT_FOLDER / f"{name}.toml"
    try:
        return decode(AboutModel, tomllib.loads(file.read_text("utf-8")))
    except FileNotFoundError as error:
        raise InputError(f"{file}: nothing describes the model {name!r}; write it or give --about") from error
    except (OSError, tomllib.TOMLDecodeError, StrictValueError) as error:
        raise InputError(f"{file}: {error}") from error


class BundleSource(Protocol):
    """What a bundle is made of: where its files come from, and what they are compared with."""

    def write_files(self, folder: Path) -> Sequence[GraphFile]:
        """Write graphs, gallery and what else the bundle holds; return the graphs' files, the bundle's own first."""
        ...

    def contract(self, name: str, graphs: Sequence[GraphFile], files: Mapping[str, str]) -> BundleContract:
        """Return the contract of files given by name with their SHA-256."""
        ...

    def compare(self, bundle: ModelBundle) -> Iterator[ParityReport]:
        """Yield the comparisons with torch, the bundle's own precision first."""
        ...

    def parity_document(self, reports: Sequence[ParityReport]) -> dict[str, Any]:
        """Return what ``parity.json`` holds."""
        ...


def write_bundle(source: BundleSource, out: Path, *, force: bool) -> tuple[ModelBundle, tuple[ParityReport, ...]]:
    """Write ``out`` (NAME.vidtag) and return it as the runtime loads it, with the comparisons that let it pass.

    Everything is made in a folder beside ``out`` that takes its name at the end, so that no half bundle is ever found.
    Raises OutputError when ``out`` is in use and ModelError when an exported graph does not give what torch gives:
    nothing is left behind then.
    """
    name = checked_name(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    reports = []
    try:
        with replace_folder(out) as fresh:
            _log.info("%s: writing its files", out)
            graphs = source.write_files(fresh)
            contract = source.contract(name, graphs, _hashes(fresh))
            write_bundle_json(fresh, contract)
            for report in source.compare(load_bundle(fresh)):
                require_parity(report, fresh)
                reports.append(report)
            document = json.dumps(source.parity_document(reports), indent=2, allow_nan=False) + "\n"
            replace_file(fresh / PARITY_FILE, document.encode())
            write_bundle_json(fresh, dataclasses.replace(contract, files=_hashes(fresh)))
            load_bundle(fresh).gallery_latlon_deg()
        _log.info("%s: in place", out)
    except OSError as error:
        raise OutputError(f"{out}: the bundle cannot be written: {error}") from error
    return load_bundle(out), tuple(reports)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A finished run, as the source of a bundle.

    ``precisions`` and ``for_tensorrt`` say which graphs are written (:func:`export.graphs.graph_files.write_graphs`),
    and each precision is compared with torch in batches of up to ``max_frames``.
    """

    run: FinishedRun
    about: AboutModel
    store_weights: StoredWeights = "float16"
    precisions: Sequence[Precision] = ("fp32",)
    for_tensorrt: bool = False
    max_frames: int = MAX_FRAMES

    def write_files(self, folder: Path) -> Sequence[GraphFile]:
        graphs = write_graphs(
            self.run.model, self.run.config.model.frame_size_px, folder, precisions=self.precisions,
            store_weights=self.store_weights, for_tensorrt=self.for_tensorrt,
        )  # fmt: skip
        # In float64: float32 would move places by up to 0.85 m, and save 2 MB of a quarter of a million of them.
        np.save(folder / GALLERY_FILE, np.ascontiguousarray(self.run.gallery_latlon_deg, dtype=np.float64))
        arrays = self.run.domain_arrays
        np.savez(folder / DOMAIN_FILE, **arrays)  # type: ignore[arg-type]  # the stub reads one as allow_pickle
        return graphs

    def contract(self, name: str, graphs: Sequence[GraphFile], files: Mapping[str, str]) -> BundleContract:
        model, config, about = self.run.model, self.run.config, self.about
        return BundleContract(
            schema=SCHEMA,
            name=name,
            kind="vidtag",
            version=about.version,
            created_with=f"vidtag {__version__}",
            graphs=graph_contracts(graphs),
            preprocess=Preprocess(config.model.frame_size_px, about.resize, "in graph"),
            sampling=Sampling(about.frames_per_second),
            window=Window(about.window_frames, about.overlap_frames),
            logit_scale=float(model.logit_scale().detach()),
            embedding_dim=config.model.embed_dim,
            feature_dim=config.model.feature_dim,
            location_encoder_kind=model.location_encoder.kind,
            calibration=self.run.calibration,
            domain=about.domain,
            training=TrainingRecord(about.data, about.licences, config.seed, about.split),
            metrics=dict(self.run.metrics),
            files=dict(files),
        )

    def compare(self, bundle: ModelBundle) -> Iterator[ParityReport]:
        reference = parity_reference(self.run.model, self.run.gallery_latlon_deg)
        size_px = bundle.preprocess.frame_size_px
        cases = tuple(edge_cases(reference, size_px, frames_rgb=self.run.parity_frames_rgb, max_frames=self.max_frames))
        for precision in self.precisions:
            yield bundle_parity(bundle, reference, precision=precision, cases=cases)

    def parity_document(self, reports: Sequence[ParityReport]) -> dict[str, Any]:
        """Return the comparison of the bundle's own precision, and below it the others."""
        own, *others = (report.document() for report in reports)
        return own | {"stored_weights": self.store_weights, "other_precisions": others}


def checked_name(out: Path, force: bool) -> str:
    """Return the name of a bundle to be written; raises OutputError when ``out`` is no NAME.vidtag or in use."""
    name = out.name.removesuffix(BUNDLE_SUFFIX)
    if out.suffix != BUNDLE_SUFFIX or not is_model_name(name):
        raise OutputError(f"{out}: a bundle's folder is called NAME{BUNDLE_SUFFIX}")
    if out.exists() and not force:
        raise OutputError(f"{out}: exists already; --force replaces it")
    return name


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that now lie in a folder, that of the comparison last."""
    last = (BUNDLE_JSON, PARITY_FILE)
    names = [path.name for path in sorted(folder.iterdir()) if path.name not in last]
    names += [PARITY_FILE] if (folder / PARITY_FILE).is_file() else []
    return {name: sha256_of(folder / name) for name in names}
