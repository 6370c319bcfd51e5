"""``recipe.json``: which published files a model is made of, and which tensor of them goes where
(docs/formats.md, Recipes).

A recipe comes with *skeletons*, ONNX graphs whose weights are named by file, offset and length and are not there. The
weights of a graph are one file beside it, every tensor at its offset, so that making a bundle is copying numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from vidtag_cli.bundle.contract import (
    BUNDLE_SUFFIX,
    GRAPHS_OF_KIND,
    Kind,
    Preprocess,
    Sampling,
    TrainingRecord,
    Window,
    is_model_name,
)
from vidtag_cli.bundle.folders import PACKAGED_RECIPES_DIR
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError, UsageError
from vidtag_cli.strict_values import Range, StrictValueError, decode, read_json_object

RECIPE_SCHEMA: Literal["vidtag-recipe/1"] = "vidtag-recipe/1"
RECIPE_JSON = "recipe.json"

MOST_BYTES = 2**40
Bytes = Annotated[int, Range(0, MOST_BYTES)]
Length = Annotated[int, Range(0, 2**31)]

Dtype = Literal["float32", "float16", "int8"]
Form = Literal["plain", "int8", "int8 scale"]
"""How a tensor is stored: as it is, as the eight-bit integers of its columns, or as the factors of these."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an archive, with its size once unpacked and the SHA-256 of that."""

    path: str
    bytes: Bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model hub: it may lie in the hub's cache on this machine already."""

    repository: str
    revision: str
    file: str


@dataclass(frozen=True, slots=True)
class Source:
    """A published file. ``members`` are the files used of an archive, by the name that tensors call them; of a plain
    file there are none, and tensors call it by the name of the source. ``package`` says that it lies in a Python
    package index, whose own address may be taken instead of ``url``.
    """

    url: str
    bytes: Bytes
    sha256: str
    licence: str
    members: dict[str, Member] | None = None
    hub: HubFile | None = None
    package: str | None = None

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a weights file: ``parts`` (``FILE:TENSOR``) one after another along their first axis, then the last
    two axes swapped where ``transposed``, then in the ``form`` and ``dtype`` wanted, row by row from ``offset`` on.
    """

    offset: Bytes
    shape: tuple[Length, ...]
    dtype: Dtype
    parts: tuple[str, ...]
    transposed: bool = False
    form: Form = "plain"


@dataclass(frozen=True, slots=True)
class SkeletonGraph:
    """A graph without its weights, ``skeleton`` beside the recipe; in the bundle it is called ``file`` and reads the
    ``weights``. ``float64_as_parts`` as in a bundle's variants.
    """

    graph: str
    skeleton: str
    sha256: str
    file: str
    weights: str
    precision: str
    float64_as_parts: bool = False


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """All tensors of one file of weights, which is ``bytes`` long."""

    bytes: Bytes
    tensors: tuple[StoredTensor, ...]


@dataclass(frozen=True, slots=True)
class GallerySource:
    """The places of the model: a CSV file ``table`` of a source with the columns LAT and LON in degrees."""

    table: str


@dataclass(frozen=True, slots=True)
class RecipeModel:
    """What ``bundle.json`` will say and no weights change, see :class:`vidtag_cli.bundle.contract.BundleContract`.

    The posterior scale is the logit scale: such a model is uncalibrated. ``max_shift_m`` and ``min_cosine`` are what a
    precision other than fp32 may move places and turn embeddings, on the machine it is made on.
    """

    version: str
    kind: Kind
    preprocess: Preprocess
    sampling: Sampling
    window: Window
    logit_scale: Annotated[float, Range(1e-3, 1e4)]
    embedding_dim: Annotated[int, Range(1, 65536)]
    feature_dim: Annotated[int, Range(1, 65536)]
    location_encoder_kind: Literal["equal_earth", "sphere"]
    place_radius_km: Annotated[float, Range(1e-3, 20_000.0)]
    domain: str
    training: TrainingRecord
    min_cosine: Annotated[float, Range(0.0, 1.0)]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of ``recipe.json``; ``folder`` is where it lies."""

    schema: Literal["vidtag-recipe/1"]
    name: str
    model: RecipeModel
    sources: dict[str, Source]
    precisions: dict[str, tuple[SkeletonGraph, ...]]
    weights: dict[str, WeightsFile]
    gallery: GallerySource

    def tensor_files(self) -> dict[str, tuple[Source, Member | None]]:
        """Return what tensors and tables call files, with where each is: a source, or a member of one."""
        files: dict[str, tuple[Source, Member | None]] = {}
        for name, source in self.sources.items():
            if source.members is None:
                files[name] = (source, None)
            files |= {inner: (source, member) for inner, member in (source.members or {}).items()}
        return files


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe, the folder its skeletons lie in, and the SHA-256 of its file."""

    recipe: Recipe
    folder: Path
    sha256: str


def load_recipe(name_or_path: str) -> LoadedRecipe:
    """Return a packaged recipe by its name, or the one in a file; raises UsageError for a name there is not, and
    ModelError for a file that is no recipe or whose skeletons are not those it names.
    """
    path = _recipe_path(name_or_path)
    try:
        recipe = decode(Recipe, read_json_object(path))
        _check(recipe)
    except StrictValueError as error:
        raise ModelError(f"{path}: no recipe: {error}") from error
    for graph in (graph for graphs in recipe.precisions.values() for graph in graphs):
        skeleton = path.parent / graph.skeleton
        if not skeleton.is_file() or sha256_of(skeleton) != graph.sha256:
            raise ModelError(f"{skeleton}: not the graph that {path.name} names: get the recipe and its files again")
    return LoadedRecipe(recipe, path.parent, sha256_of(path))


def packaged_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with the program."""
    return tuple(sorted(path.parent.name for path in PACKAGED_RECIPES_DIR.glob(f"*/{RECIPE_JSON}")))


def _recipe_path(name_or_path: str) -> Path:
    if name_or_path in packaged_recipes():
        return PACKAGED_RECIPES_DIR / name_or_path / RECIPE_JSON
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.is_dir() and (path / RECIPE_JSON).is_file():
        return path / RECIPE_JSON
    raise UsageError(
        f"{name_or_path}: no model of this name can be got, and it is no recipe file; there is "
        f"{', '.join(packaged_recipes())}"
    )


def _check(recipe: Recipe) -> None:
    """Raise StrictValueError, naming the key, unless the parts of a recipe agree."""
    if not is_model_name(recipe.name):
        raise StrictValueError(f"name: {recipe.name!r} is not a name of letters, digits, '.', '_' and '-'")
    if not recipe.precisions:
        raise StrictValueError("precisions: there is none")
    for name, source in recipe.sources.items():
        _check_source(f"sources.{name}", name, source)
    files = recipe.tensor_files()
    if recipe.gallery.table not in files:
        raise StrictValueError(f"gallery.table: {recipe.gallery.table!r} is no file of the sources")
    for name, weights in recipe.weights.items():
        _check_plain_name(f"weights.{name}", name)
        _check_weights(f"weights.{name}", weights, set(files))
    for precision, graphs in recipe.precisions.items():
        _check_graphs(f"precisions.{precision}", recipe, graphs)


def _check_source(key: str, name: str, source: Source) -> None:
    for file in (name, *(source.members or {})):  # files are unpacked under these names
        _check_plain_name(key, file)
    if not source.url.startswith(("https://", "http://")):
        raise StrictValueError(f"{key}.url: {source.url!r} is no address of the web")
    hashes = [source.sha256, *(member.sha256 for member in (source.members or {}).values())]
    for sha256 in hashes:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise StrictValueError(f"{key}: {sha256!r} is no SHA-256 in hexadecimal")
    _check_plain_name(f"{key}.url", source.file_name)


def _check_plain_name(key: str, name: str) -> None:
    if not name or "/" in name or "\\" in name or name in (".", "..") or not name.isprintable():
        raise StrictValueError(f"{key}: {name!r} is no plain file name")


def _check_weights(key: str, weights: WeightsFile, files: set[str]) -> None:
    end = 0
    for number, tensor in enumerate(sorted(weights.tensors, key=lambda tensor: tensor.offset)):
        if tensor.offset < end:
            raise StrictValueError(f"{key}.tensors[{number}].offset: it overlaps the tensor before it")
        end = tensor.offset + tensor_bytes(tensor)
        unknown = [part for part in tensor.parts if part.partition(":")[0] not in files]
        if unknown or not tensor.parts:
            raise StrictValueError(f"{key}.tensors[{number}].parts: {unknown} name no file of the sources")
    if end > weights.bytes:
        raise StrictValueError(f"{key}.bytes: {weights.bytes} are too few for its tensors, which end at {end}")


def tensor_bytes(tensor: StoredTensor) -> int:
    """Return how long a stored tensor is."""
    values = 1
    for length in tensor.shape:
        values *= length
    return values * {"float32": 4, "float16": 2, "int8": 1}[tensor.dtype]


def _check_graphs(key: str, recipe: Recipe, graphs: tuple[SkeletonGraph, ...]) -> None:
    expected = GRAPHS_OF_KIND[recipe.model.kind]
    own = [graph.graph for graph in graphs if not graph.float64_as_parts]
    if sorted(own) != sorted(expected):
        raise StrictValueError(f"{key}: one graph each of {', '.join(expected)} is needed, found {', '.join(own)}")
    for number, graph in enumerate(graphs):
        for field in ("skeleton", "file", "weights"):
            _check_plain_name(f"{key}[{number}].{field}", getattr(graph, field))
        if graph.weights not in recipe.weights:
            raise StrictValueError(f"{key}[{number}].weights: {graph.weights!r} is none of the weights files")


def bundle_name(recipe: Recipe) -> str:
    """Return the name of the folder that the made model has."""
    return f"{recipe.name}{BUNDLE_SUFFIX}"
