"""A bundle from published files: numbers copied to where the graphs of a recipe look for them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from vidtag_cli import __version__
from vidtag_cli.bundle.bundle_json import write_bundle_json
from vidtag_cli.bundle.contract import (
    GALLERY_FILE,
    SCHEMA,
    BundleContract,
    Calibration,
    GraphContract,
    GraphVariant,
    graph_contract,
)
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.build import canonical_latlon, first_of_duplicates
from vidtag_cli.pipeline.calibration import UNCALIBRATED
from vidtag_cli.recipes.recipe import LoadedRecipe, Recipe, SkeletonGraph, StoredTensor, WeightsFile
from vidtag_cli.recipes.tensors import Tensors, read_tensors

Tell = Callable[[str], None]

_LEVELS = 127
"""Eight-bit weights go from -127 to 127, the same on both sides of zero."""

_MOST_ROWS = 10_000_000
_HEADER = ["LAT", "LON"]


class SourceFiles:
    """The fetched files of a recipe, by the names that tensors call them; opened when first asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._tensors: dict[str, Tensors] = {}

    def path(self, name: str) -> Path:
        """Return where a file is."""
        return self._paths[name]

    def tensor(self, part: str) -> np.ndarray:
        """Return the tensor ``FILE:TENSOR``; raises ModelError where the file has none of that name."""
        file, _, name = part.partition(":")
        if file not in self._tensors:
            self._tensors[file] = read_tensors(self._paths[file])
        try:
            return self._tensors[file][name]
        except KeyError as error:
            raise ModelError(f"{self._paths[file].name}: it has no tensor {name!r}") from error

    def close(self) -> None:
        """Let go of what was opened, whose pages count as memory of this process; it is opened again when asked for."""
        self._tensors.clear()


def assemble_bundle(
    loaded: LoadedRecipe, files: SourceFiles, folder: Path, precision: str, created_from: str, tell: Tell
) -> BundleContract:
    """Write all files of a bundle into an empty folder and return its contract.

    ``created_from`` says of the published files what the record should. The least memory is that of the largest tensor.
    Raises ModelError for a precision the recipe has not, and for files with other tensors than it says.
    """
    recipe = loaded.recipe
    if precision not in recipe.precisions:
        raise ModelError(f"{recipe.name}: there is {', '.join(recipe.precisions)}, no precision {precision}")
    graphs = recipe.precisions[precision]
    for graph in graphs:
        shutil.copyfile(loaded.folder / graph.skeleton, folder / graph.file)
    for name in dict.fromkeys(graph.weights for graph in graphs):
        tell(f"writing {name}")
        write_weights(folder / name, recipe.weights[name], files)
    np.save(folder / GALLERY_FILE, read_places(files.path(recipe.gallery.table)))
    contract = _contract(recipe, graphs, folder, created_from)
    write_bundle_json(folder, contract)
    return contract


def write_weights(path: Path, weights: WeightsFile, files: SourceFiles) -> None:
    """Write one file of weights, tensor after tensor; what lies between them is zero."""
    with path.open("wb") as file:
        for stored in sorted(weights.tensors, key=lambda tensor: tensor.offset):
            values = stored_values(stored, files)
            file.seek(stored.offset)
            np.ascontiguousarray(values).tofile(file)
        file.truncate(weights.bytes)


def stored_values(stored: StoredTensor, files: SourceFiles) -> np.ndarray:
    """Return a tensor as it is stored; raises ModelError for another shape, and for numbers that do not fit."""
    parts = [files.tensor(part) for part in stored.parts]
    where = ", ".join(stored.parts)
    if not all(np.issubdtype(part.dtype, np.floating) for part in parts):
        raise ModelError(f"{where}: not the numbers of a weight")
    try:
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error
    if stored.transposed:
        values = np.swapaxes(values, -1, -2) if values.ndim > 1 else values
    if stored.form != "plain":
        scale = int8_scale(values)
        values = scale if stored.form == "int8 scale" else to_int8(values, scale)
    if values.size != int(np.prod(stored.shape)):
        raise ModelError(f"{where}: {values.shape} is not {stored.shape}")
    with np.errstate(over="ignore"):
        cast = values.astype(stored.dtype)
    if stored.dtype != "int8" and not np.isfinite(cast).all():
        raise ModelError(f"{where}: some of it is no number, or too large for {stored.dtype}")
    return cast


def int8_scale(weight: np.ndarray) -> np.ndarray:
    """Return (N,) float32 by what the integers of each column of a weight (K, N) are multiplied."""
    most = np.abs(weight.astype(np.float32)).max(axis=0)
    scale: np.ndarray = np.where(most > 0.0, most / np.float32(_LEVELS), np.float32(1.0))
    return scale.astype(np.float32)


def to_int8(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the integers (K, N) nearest to a weight over its scale (N,)."""
    return np.clip(np.rint(weight.astype(np.float32) / scale), -_LEVELS, _LEVELS).astype(np.int8)


def read_places(path: Path) -> np.ndarray:
    """Return the places (G, 2) float64 of a CSV file with the columns LAT and LON in degrees, each once, in its order.

    Raises ModelError for another header, a row that is no place, or more than ten million of them.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = csv.reader(lines)
            if next(rows, None) != _HEADER:
                raise ValueError(f"it does not begin with {','.join(_HEADER)}")
            latlon_deg = np.array(list(_positions(rows)), np.float64).reshape(-1, 2)
    except (OSError, ValueError, csv.Error) as error:
        raise ModelError(f"{path.name}: no table of places: {error}") from error
    if not len(latlon_deg):
        raise ModelError(f"{path.name}: no table of places: it has none")
    return canonical_latlon(latlon_deg[first_of_duplicates(latlon_deg)])


def _positions(rows: Iterator[list[str]]) -> Iterator[tuple[float, float]]:
    for number, row in enumerate(rows):
        lat, lon = row
        position = float(lat), float(lon)
        if not (abs(position[0]) <= 90.0 and abs(position[1]) <= 360.0) or number >= _MOST_ROWS:
            raise ValueError(f"row {number + 2}: {','.join(row)!r}")
        yield position


def _contract(recipe: Recipe, graphs: tuple[SkeletonGraph, ...], folder: Path, created_from: str) -> BundleContract:
    model = recipe.model
    names = [*dict.fromkeys(name for graph in graphs for name in (graph.file, graph.weights)), GALLERY_FILE]
    return BundleContract(
        schema=SCHEMA,
        name=recipe.name,
        kind=model.kind,
        version=model.version,
        created_with=f"vidtag {__version__} from {created_from}",
        graphs={graph.graph: _graph(graphs, graph) for graph in graphs if not graph.float64_as_parts},
        preprocess=model.preprocess,
        sampling=model.sampling,
        window=model.window,
        logit_scale=model.logit_scale,
        embedding_dim=model.embedding_dim,
        feature_dim=model.feature_dim,
        location_encoder_kind=model.location_encoder_kind,
        calibration=Calibration(
            parameters={"posterior_scale": model.logit_scale, "place_radius_km": model.place_radius_km},
            tables={}, statement=UNCALIBRATED, measured={},
        ),
        domain=model.domain,
        training=model.training,
        metrics={},
        files={name: sha256_of(folder / name) for name in names},
    )  # fmt: skip


def _graph(graphs: tuple[SkeletonGraph, ...], own: SkeletonGraph) -> GraphContract:
    variants = tuple(
        GraphVariant(graph.file, graph.sha256, graph.precision, graph.float64_as_parts)
        for graph in graphs
        if graph.graph == own.graph and graph is not own
    )
    return graph_contract(own.graph, own.file, own.sha256, own.precision, variants)
