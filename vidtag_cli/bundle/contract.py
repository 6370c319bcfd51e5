"""What a model bundle promises: the fields of ``bundle.json`` and the tensors of its graphs.

Shape letters: ``N`` frames or positions, ``B`` clips, ``T`` frames of a clip, ``S`` side of a frame in pixels, ``D``
width of the joined backbone features, ``E`` width of the shared embedding. ``S``, ``D`` and ``E`` are fixed by the
bundle; the others are free at every call. Export writes what this module defines and the runtime reads it back with
the same checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from vidtag_cli.errors import ModelError
from vidtag_cli.strict_values import Range

SCHEMA: Literal["vidtag-bundle/1"] = "vidtag-bundle/1"
BUNDLE_SUFFIX = ".vidtag"
BUNDLE_JSON = "bundle.json"
GALLERY_FILE = "gallery_latlon.npy"
"""The default gallery's coordinates: (G, 2) float64 degrees, latitude first."""
GALLERY_EMBEDDING_FILE = "gallery_embedding.npy"
"""Optional: their embeddings (G, E) float32, unit vectors, as the model's own publisher computes them."""

GATE_FILE = "gate.npz"
"""Optional: the network that tells footage of the model's kind from others; see ``gate``."""

Width = Annotated[int, Range(1, 65_536)]
"""Of an embedding or of features: the largest models published stay below a tenth of it."""

Measure = Annotated[float, Range(-1e12, 1e12)]
"""A number whose meaning belongs to other code, which has its own limits; this one keeps products of them finite."""

Scale = Annotated[float, Range(1e-3, 1e4)]
"""What multiplies a cosine before an exponential: CLIP stops at 100."""

Dimension = Width | str
Kind = Literal["vidtag", "geoclip"]


@dataclass(frozen=True, slots=True)
class TensorContract:
    """One input or output of a graph; a shape holds numbers and letters, as in ``("N", "S", "S", 3)``."""

    name: str
    dtype: str
    shape: tuple[Dimension, ...]


@dataclass(frozen=True, slots=True)
class GraphVariant:
    """Another ONNX file of the same graph: the caller gives and gets the same tensors, the arithmetic differs.

    With ``float64_as_parts`` the file takes every float64 input ``x`` as two float32 inputs ``x_high`` and ``x_low``
    whose sum it is, for engines that know no float64.
    """

    file: str
    sha256: str
    precision: str
    float64_as_parts: bool = False


@dataclass(frozen=True, slots=True)
class GraphContract:
    """One ONNX file: where it lies in the bundle, its hash and its tensors; and other files of the same graph.

    ``precision`` names what most of it computes in (``fp32``, ``fp16``); inputs and outputs keep the dtypes below
    whatever it is.
    """

    file: str
    sha256: str
    precision: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    variants: tuple[GraphVariant, ...] = ()


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a decoded frame becomes the square uint8 RGB input; normalisation is part of the graph."""

    frame_size_px: Annotated[int, Range(1, 2048)]
    resize: Literal["squash", "center_crop"]
    normalisation: Literal["in graph"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How densely frames are taken from a video unless the user says otherwise."""

    frames_per_second: Annotated[float, Range(1e-3, 1000.0)]


@dataclass(frozen=True, slots=True)
class Window:
    """How many frames the temporal modules see at once, and how many of them two neighbouring windows share."""

    frames: Annotated[int, Range(1, 1024)]
    overlap_frames: Annotated[int, Range(0, 1023)]


Share = Annotated[float, Range(0.0, 1.0)]
Count = Annotated[int, Range(0, 2**53)]


@dataclass(frozen=True, slots=True)
class ChangeCoverage:
    """What was measured on ``clips`` of ``frames`` in all that were changed in one way, such as ``grey``, and located
    with or without a path (``smoothing``).

    ``coverage95`` is the share of the located frames whose 95 % circle held the true place, with the ends of its 95 %
    interval by clip; all three are None where not one frame was located.
    """

    change: str
    smoothing: Literal["none", "viterbi"]
    clips: Count
    frames: Count
    located_share: Share
    coverage95: Share | None = None
    coverage95_low: Share | None = None
    coverage95_high: Share | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted on held-out clips: numbers, tables, the sentence for the report, the coverage measured.

    The names in ``parameters``, ``tables`` and ``measured`` belong to the code that computes uncertainty. A bundle that
    was never held against clips of known places has neither tables nor measurements: it is uncalibrated, its statement
    says so, and the runtime claims no more. ``changes`` is what was measured on changed footage.
    """

    parameters: dict[str, Measure]
    tables: dict[str, list[Measure]]
    statement: str
    measured: dict[str, Measure]
    changes: tuple[ChangeCoverage, ...] = ()

    @property
    def is_measured(self) -> bool:
        return bool(self.tables or self.measured)


@dataclass(frozen=True, slots=True)
class GateContract:
    """The gate of ``gate.npz``: what it distinguishes, that of training first, and when a window is refused: beyond
    these log odds for any other kind, or below a margin between the cosines of the best places of a picture and of its
    mirror image, a share of frames that agree with most others, or a mean cosine; or outside the range of the cosine
    between neighbouring frames. ``statement`` says on what it was fitted and what it lets through.
    """

    kinds: tuple[str, ...]
    hidden_width: Annotated[int, Range(1, 4096)]
    max_strangeness_nat: Measure
    min_mirror_margin: Annotated[float, Range(-2.0, 2.0)]
    min_agreeing_share: Annotated[float, Range(0.0, 1.0)]
    min_mean_cosine: Annotated[float, Range(-1.0, 1.0)]
    min_neighbour_cosine: Annotated[float, Range(-1.0, 1.0)]
    max_neighbour_cosine: Annotated[float, Range(-1.0, 1.0)]
    statement: str


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Where the weights come from: data sets, their licences, the seed, how data were split (in words).

    An entry of ``data`` that holds the words ``random weights`` says that there was no training.
    """

    data: tuple[str, ...]
    licences: tuple[str, ...]
    seed: Annotated[int, Range(-(2**63), 2**64)]
    split: str


@dataclass(frozen=True, slots=True)
class BundleContract:
    """All of ``bundle.json``.

    ``files`` maps every other file of the bundle, by its path with ``/`` relative to the bundle, to its SHA-256.
    """

    schema: Literal["vidtag-bundle/1"]
    name: str
    kind: Kind
    version: str
    created_with: str
    graphs: dict[str, GraphContract]
    preprocess: Preprocess
    sampling: Sampling
    window: Window
    logit_scale: Scale
    embedding_dim: Width
    feature_dim: Width
    location_encoder_kind: Literal["equal_earth", "sphere"]
    calibration: Calibration
    domain: str
    training: TrainingRecord
    metrics: dict[str, Measure]
    files: dict[str, str]
    gate: GateContract | None = None

    @property
    def has_random_weights(self) -> bool:
        """Whether the model was never trained, so that no place it names means anything."""
        return any(RANDOM_WEIGHTS in entry.lower() for entry in self.training.data)

    def fixed_dimensions(self) -> dict[str, int]:
        """Return the letters that this bundle fixes, with their sizes."""
        return {"S": self.preprocess.frame_size_px, "D": self.feature_dim, "E": self.embedding_dim}


FRAMES_RGB = TensorContract("frames_rgb", "uint8", ("N", "S", "S", 3))
LATLON_DEG = TensorContract("latlon_deg", "float64", ("N", 2))
LOCATION_EMBEDDING = TensorContract("location_embedding", "float32", ("N", "E"))

GRAPH_TENSORS: Mapping[str, tuple[tuple[TensorContract, ...], tuple[TensorContract, ...]]] = {
    "dual_encoder": (
        (FRAMES_RGB,),
        (TensorContract("frame_features", "float32", ("N", "D")),),
    ),
    "tempgeo": (
        (TensorContract("frame_features", "float32", ("B", "T", "D")),),
        (
            TensorContract("refined_features", "float32", ("B", "T", "D")),
            TensorContract("frame_embedding", "float32", ("B", "T", "E")),
        ),
    ),
    "location_encoder": (
        (LATLON_DEG,),
        (LOCATION_EMBEDDING,),
    ),
    "georefiner": (
        (
            TensorContract("refined_features", "float32", ("B", "T", "D")),
            TensorContract("location_embedding", "float32", ("B", "T", "E")),
        ),
        (TensorContract("refined_embedding", "float32", ("B", "T", "E")),),
    ),
    "image_encoder": (
        (FRAMES_RGB,),
        (TensorContract("frame_embedding", "float32", ("N", "E")),),
    ),
}
"""Graph name to its (inputs, outputs): the names, dtypes and shapes that export writes and the runtime expects."""

GRAPHS_OF_KIND: Mapping[Kind, tuple[str, ...]] = {
    "vidtag": ("dual_encoder", "tempgeo", "location_encoder", "georefiner"),
    "geoclip": ("image_encoder", "location_encoder"),
}

RANDOM_WEIGHTS = "random weights"
"""Stands in an entry of ``training.data`` where the weights, or some of them, were drawn and never trained."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_model_name(text: str) -> bool:
    """Return whether a text can be the name of a model: letters, digits, dots, dashes, underscores; never a path."""
    return _NAME.fullmatch(text) is not None and not text.endswith(BUNDLE_SUFFIX)


def graph_contract(
    name: str, file: str, sha256: str, precision: str, variants: tuple[GraphVariant, ...] = ()
) -> GraphContract:
    """Return the contract of one of the fixed graphs, for the code that writes a bundle."""
    inputs, outputs = GRAPH_TENSORS[name]
    return GraphContract(file, sha256, precision, inputs, outputs, variants)


def fixed_shape(shape: tuple[Dimension, ...], sizes: Mapping[str, int]) -> tuple[Dimension, ...]:
    """Return a shape whose letters are replaced by their sizes where ``sizes`` has them."""
    return tuple(sizes.get(dimension, dimension) if isinstance(dimension, str) else dimension for dimension in shape)


def check_contract(contract: BundleContract) -> None:
    """Raise ModelError, naming the key, unless the fields agree with each other and with the fixed graphs."""
    if not is_model_name(contract.name):
        raise ModelError(f"name: {contract.name!r} is not a name of letters, digits, '.', '_' and '-'")
    window = contract.window
    if not window.overlap_frames < window.frames:
        raise ModelError(f"window.overlap_frames: {window.overlap_frames} must lie in [0, {window.frames})")
    _check_graph_names(contract)
    if contract.gate is not None and len(contract.gate.kinds) < 2:
        raise ModelError("gate.kinds: at least that of training and one other are needed")
    for name, graph in contract.graphs.items():
        _check_graph_file(f"graphs.{name}", graph, contract.files)
        for index, variant in enumerate(graph.variants):
            _check_graph_file(f"graphs.{name}.variants[{index}]", variant, contract.files)
        inputs, outputs = GRAPH_TENSORS[name]
        sizes = contract.fixed_dimensions()
        _check_tensors(f"graphs.{name}.inputs", graph.inputs, inputs, sizes)
        _check_tensors(f"graphs.{name}.outputs", graph.outputs, outputs, sizes)
    for path, sha256 in contract.files.items():
        _check_sha256(f"files.{path}", sha256)


def _check_graph_names(contract: BundleContract) -> None:
    expected = GRAPHS_OF_KIND[contract.kind]
    for name in expected:
        if name not in contract.graphs:
            raise ModelError(f"graphs.{name}: the key is missing; kind {contract.kind!r} has {', '.join(expected)}")
    for name in contract.graphs:
        if name not in expected:
            raise ModelError(f"graphs.{name}: unknown key; kind {contract.kind!r} has {', '.join(expected)}")


def _check_graph_file(key: str, graph: GraphContract | GraphVariant, files: Mapping[str, str]) -> None:
    _check_sha256(f"{key}.sha256", graph.sha256)
    if not graph.file.endswith(".onnx"):
        raise ModelError(f"{key}.file: {graph.file!r} is not an .onnx file")
    if files.get(graph.file, graph.sha256) != graph.sha256:
        raise ModelError(f"{key}.sha256: differs from the hash of {graph.file!r} under files")


def _check_tensors(
    key: str, stated: tuple[TensorContract, ...], expected: tuple[TensorContract, ...], sizes: Mapping[str, int]
) -> None:
    if tuple(tensor.name for tensor in stated) != tuple(tensor.name for tensor in expected):
        raise ModelError(f"{key}: expected {[t.name for t in expected]}, found {[t.name for t in stated]}")
    for tensor, reference in zip(stated, expected, strict=True):
        where = f"{key}.{tensor.name}"
        if tensor.dtype != reference.dtype:
            raise ModelError(f"{where}: expected dtype {reference.dtype}, found {tensor.dtype}")
        if fixed_shape(tensor.shape, sizes) != fixed_shape(reference.shape, sizes):
            wanted_shape = f"{list(reference.shape)} with {dict(sizes)}"
            raise ModelError(f"{where}: expected shape {wanted_shape}, found {list(tensor.shape)}")


def _check_sha256(key: str, text: str) -> None:
    if _SHA256.fullmatch(text) is None:
        raise ModelError(f"{key}: {text!r} is not a SHA-256 in 64 lower-case hexadecimal digits")
