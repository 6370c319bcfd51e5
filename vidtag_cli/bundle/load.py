"""A verified bundle, ready for the engines."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vidtag_cli.bundle.array_files import ArrayShape, map_array, read_array
from vidtag_cli.bundle.bundle_json import read_bundle_json
from vidtag_cli.bundle.contract import (
    BUNDLE_JSON,
    GALLERY_EMBEDDING_FILE,
    GALLERY_FILE,
    BundleContract,
    Calibration,
    GraphContract,
    GraphVariant,
    Kind,
    Preprocess,
    Sampling,
    TensorContract,
    Window,
    fixed_shape,
)
from vidtag_cli.bundle.float_parts import parts_of, tensors_in_parts
from vidtag_cli.bundle.integrity import check_files, inside_path, sha256_of
from vidtag_cli.errors import ModelError

if typing.TYPE_CHECKING:
    import numpy as np

LISTED_FILES = 5
"""Bad files that an error names; ``vidtag models verify`` names all."""


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """A graph an engine can open: its path is absolute, and letters that the bundle fixes are replaced by numbers.

    ``inputs`` and ``outputs`` are those of the file. With ``float64_as_parts`` they are not the caller's: an engine
    passes what it is given through :meth:`feed`.
    """

    name: str
    path: Path
    sha256: str
    precision: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    float64_as_parts: bool = False

    def feed(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return a caller's inputs as the tensors that the file takes."""
        return parts_of(inputs) if self.float64_as_parts else inputs


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """A loaded bundle. ``sha256`` is that of ``bundle.json`` and so pins every file of the model.

    ``graphs`` holds the first file of every graph, ``variants`` the others; :meth:`graphs_for` chooses among them. A
    gallery belongs to the SHA-256 of the first location encoder: all of them agree to a metre (docs/method.md 2.5).
    """

    path: Path
    sha256: str
    contract: BundleContract
    graphs: dict[str, ModelGraph]
    variants: dict[str, tuple[ModelGraph, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def kind(self) -> Kind:
        return self.contract.kind

    @property
    def preprocess(self) -> Preprocess:
        return self.contract.preprocess

    @property
    def sampling(self) -> Sampling:
        return self.contract.sampling

    @property
    def window(self) -> Window:
        return self.contract.window

    @property
    def logit_scale(self) -> float:
        return self.contract.logit_scale

    @property
    def embedding_dim(self) -> int:
        return self.contract.embedding_dim

    @property
    def feature_dim(self) -> int:
        return self.contract.feature_dim

    @property
    def location_encoder_kind(self) -> str:
        return self.contract.location_encoder_kind

    @property
    def calibration(self) -> Calibration:
        return self.contract.calibration

    @property
    def domain(self) -> str:
        return self.contract.domain

    def precisions(self) -> tuple[str, ...]:
        """Return the precisions this bundle can be run in; the first is its own choice."""
        own = [graph.precision for graph in self.graphs.values()]
        return tuple(
            dict.fromkeys([*own, *(variant.precision for files in self.variants.values() for variant in files)])
        )

    def graphs_for(self, precision: str | None = None, *, has_float64: bool = True) -> dict[str, ModelGraph]:
        """Return the file of every graph for a precision, by default the bundle's own, and for an engine.

        A graph that has no file in the precision is one that must not be computed in it, such as the location encoder
        in fp16: its first file is taken. ``has_float64=False`` is for engines without float64 (TensorRT). Raises
        ModelError, naming what there is, when no graph has the precision or one needs float64.
        """
        precision = precision or self.precisions()[0]
        if precision not in self.precisions():
            raise ModelError(
                f"{self.path}: has no graphs in {precision}, only in {', '.join(self.precisions())}; "
                "choose one of them, or export the model again with --precision both"
            )
        return {name: self._graph_for(name, precision, has_float64) for name in self.graphs}

    def _graph_for(self, name: str, precision: str, has_float64: bool) -> ModelGraph:
        # An engine with float64 needs no parts: the first file is the exact one.
        files = [
            graph
            for graph in (self.graphs[name], *self.variants.get(name, ()))
            if (not graph.float64_as_parts if has_float64 else "float64" not in {t.dtype for t in graph.inputs})
        ]
        if not files:
            raise ModelError(
                f"{self.path}: {name} computes in float64, which TensorRT does not know, and has no variant without; "
                "use --engine onnxruntime, or export the model again with python -m export onnx"
            )
        return next((graph for graph in files if graph.precision == precision), files[0])

    def file(self, relative: str) -> Path:
        """Return the absolute path of a listed file, such as a calibration table.

        Raises ModelError when ``bundle.json`` does not list it: what is not hashed is not read.
        """
        if relative not in self.contract.files:
            raise ModelError(f"{self.path}: the bundle has no file {relative!r}")
        return inside_path(self.path, relative)

    def gallery_latlon_deg(self) -> np.ndarray:
        """Return the default gallery's coordinates: (G, 2) float64 degrees, latitude first."""
        import numpy as np

        path = self.file(GALLERY_FILE)
        latlon_deg = read_array(path, ArrayShape("float64", (None, 2)))
        lat, lon = latlon_deg[:, 0], latlon_deg[:, 1]
        if not (np.all(np.abs(lat) <= 90.0) and np.all((lon >= -180.0) & (lon < 180.0))):
            raise ModelError(f"{path}: coordinates outside latitude [-90, 90], longitude [-180, 180)")
        return latlon_deg

    def gallery_embedding(self) -> np.ndarray | None:
        """Return the embeddings (G, E) float32 that came with the default gallery, mapped from their file, or None."""
        if GALLERY_EMBEDDING_FILE not in self.contract.files:
            return None
        expected = ArrayShape("float32", (len(self.gallery_latlon_deg()), self.embedding_dim))
        return map_array(self.file(GALLERY_EMBEDDING_FILE), expected)


def load_bundle(path: str | Path, verify: bool = True) -> ModelBundle:
    """Return the bundle in a folder.

    With ``verify`` every listed file is hashed. Without it the hashes alone are skipped: paths that leave the folder,
    missing files and weights that are not listed are refused either way. Raises ModelError that names every bad file.
    """
    bundle_dir = Path(path)
    contract = read_bundle_json(bundle_dir)
    bad = [check for check in check_files(bundle_dir, contract, hashes=verify) if not check.is_ok]
    if bad:
        listing = "; ".join(check.spelled() for check in bad[:LISTED_FILES])
        listing += f"; and {len(bad) - LISTED_FILES} more" * (len(bad) > LISTED_FILES)
        raise ModelError(f"{bundle_dir}: not as {BUNDLE_JSON} describes it: {listing}; install the model again")
    graphs = {name: _model_graph(bundle_dir, contract, name, graph) for name, graph in contract.graphs.items()}
    variants = {
        name: tuple(_model_graph(bundle_dir, contract, name, variant) for variant in graph.variants)
        for name, graph in contract.graphs.items()
    }
    return ModelBundle(bundle_dir.resolve(), sha256_of(bundle_dir / BUNDLE_JSON), contract, graphs, variants)


def _model_graph(
    bundle_dir: Path, contract: BundleContract, name: str, file: GraphContract | GraphVariant
) -> ModelGraph:
    sizes = contract.fixed_dimensions()
    tensors = contract.graphs[name]
    in_parts = isinstance(file, GraphVariant) and file.float64_as_parts
    inputs = tensors_in_parts(tensors.inputs) if in_parts else tensors.inputs
    return ModelGraph(
        name=name,
        path=inside_path(bundle_dir, file.file),
        sha256=file.sha256,
        precision=file.precision,
        inputs=_fixed_tensors(inputs, sizes),
        outputs=_fixed_tensors(tensors.outputs, sizes),
        float64_as_parts=in_parts,
    )


def _fixed_tensors(tensors: tuple[TensorContract, ...], sizes: dict[str, int]) -> tuple[TensorContract, ...]:
    return tuple(TensorContract(tensor.name, tensor.dtype, fixed_shape(tensor.shape, sizes)) for tensor in tensors)
