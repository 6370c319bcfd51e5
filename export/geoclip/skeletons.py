"""The graphs of a GeoCLIP bundle without their weights, and the table of where each weight comes from.

Every graph is exported with weights that are random numbers under their published names. Each large constant of the
graph is then one published tensor, or several joined, perhaps transposed or in half precision, and is found by its
numbers; what is left over must be the same with other random numbers, and stays in the graph.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from export.bundle import read_about
from export.geoclip.bundle import PLACE_RADIUS_KM
from export.geoclip.graphs import exported_graph, reference_graphs
from export.geoclip.release import GeoClipRelease, read_release, release_folder
from export.geoclip.tower import EMBED_DIM, VIT_L14, tower_state
from export.graphs.graphs import LocationPartsGraph
from export.graphs.onnx_files import traced_graph
from training.model.backbones import build_clip_visual
from vidtag_cli.bundle.contract import Preprocess, Sampling, TrainingRecord, Window
from vidtag_cli.bundle.folders import PACKAGED_RECIPES_DIR
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError
from vidtag_cli.files import replace_file, replace_folder
from vidtag_cli.recipes.assemble import int8_scale, to_int8
from vidtag_cli.recipes.recipe import (
    RECIPE_JSON,
    RECIPE_SCHEMA,
    Dtype,
    Form,
    GallerySource,
    HubFile,
    Member,
    Recipe,
    RecipeModel,
    SkeletonGraph,
    Source,
    StoredTensor,
    WeightsFile,
    tensor_bytes,
)
from vidtag_cli.strict_values import encode

_log = logging.getLogger("export")

CLIP, HEAD, LOCATION, PLACES = "clip", "head", "location", "places"

CLIP_SOURCE = Source(
    url="https://huggingface.co/openai/clip-vit-large-patch14/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41/model.safetensors",
    bytes=1_710_540_580,
    sha256="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
    licence="MIT (OpenAI)",
    hub=HubFile("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", "model.safetensors"),
)

WHEEL_BYTES, WHEEL_SHA256 = 40_292_198, "08a93791166a279d52b95c466a952c75f17f654cc61bdf6ab20355325b564dec"
WHEEL_URL = "https://files.pythonhosted.org/packages/py3/g/geoclip/geoclip-1.3.0-py3-none-any.whl"
WHEEL_FILES = {
    HEAD: "weights/image_encoder_mlp_weights.pth",
    LOCATION: "weights/location_encoder_weights.pth",
    PLACES: "gps_gallery/coordinates_100K.csv",
}

PRECISIONS = ("fp32", "fp16", "int8")
PARTS = "parts"
"""The form of the location encoder for engines without float64; its weights are the same."""

MIN_COSINE = 0.98
"""The least cosine between the embeddings of a real frame in a precision and in fp32."""

INLINE_BYTES = 131_072
"""As large a constant may stay in the graph that no published tensor explains; Equal Earth is a table of 92 kB."""

_ALIGNED_FROM, _PAGE, _LINE = 65_536, 4096, 64
_STORED_DTYPES: Mapping[str, Dtype] = {"float32": "float32", "float16": "float16", "int8": "int8"}
_SHARED = 256
"""Constants of fewer bytes stay in the graph without a look at where they come from, if they are always the same."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a constant of a graph comes from: published tensors, joined, perhaps transposed, in a form."""

    parts: tuple[str, ...]
    transposed: bool
    form: Form = "plain"


def skeletons(
    out: Annotated[Path, typer.Option(help="Folder to write; default: where the program looks for it.")] = (
        PACKAGED_RECIPES_DIR / "geoclip"
    ),
) -> None:
    """Write the graphs of GeoCLIP without weights, and the recipe by which `vidtag models get` fills them."""
    write_skeletons(out, VIT_L14)
    size = sum(path.stat().st_size for path in out.iterdir())
    typer.echo(f"{out}: {len(list(out.iterdir()))} files, {size / 1e3:.0f} kB")


def write_skeletons(out: Path, shape: Mapping[str, int], clip_source: Source = CLIP_SOURCE) -> Recipe:
    """Write skeletons and recipe of a model with a CLIP tower of this shape, and return the recipe."""
    release = read_release()
    out.parent.mkdir(parents=True, exist_ok=True)
    weights: dict[str, WeightsTable] = {}
    with replace_folder(out) as fresh:
        image = {
            precision: _make_graph(fresh, shape, release, "image_encoder", precision, weights)
            for precision in PRECISIONS
        }
        places = [_make_graph(fresh, shape, release, "location_encoder", form, weights) for form in ("fp32", PARTS)]
        recipe = Recipe(
            schema=RECIPE_SCHEMA,
            name="geoclip",
            model=_model(release, shape["image_size"]),
            sources={CLIP: clip_source, "geoclip": wheel_source()},
            precisions={precision: (image[precision], *places) for precision in PRECISIONS},
            weights={name: table.file() for name, table in weights.items()},
            gallery=GallerySource(PLACES),
        )
        replace_file(fresh / RECIPE_JSON, (json.dumps(encode(recipe), separators=(",", ":")) + "\n").encode())
    return recipe


def wheel_source() -> Source:
    """Return the wheel of the package ``geoclip`` that is installed, which must be the pinned one file by file."""
    folder = release_folder()
    members = {
        name: Member(f"geoclip/model/{path}", (folder / path).stat().st_size, sha256_of(folder / path))
        for name, path in WHEEL_FILES.items()
    }
    return Source(WHEEL_URL, WHEEL_BYTES, WHEEL_SHA256, "MIT (Vicente Vivanco)", members, package="geoclip")


def published_shapes(shape: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors of CLIP's image tower as transformers publishes them."""
    width, patch, tokens = shape["width"], shape["patch_size"], (shape["image_size"] // shape["patch_size"]) ** 2 + 1
    model = "vision_model"
    shapes: dict[str, tuple[int, ...]] = {
        f"{model}.embeddings.class_embedding": (width,),
        f"{model}.embeddings.position_embedding.weight": (tokens, width),
        f"{model}.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "visual_projection.weight": (EMBED_DIM, width),
    }
    norms = [f"{model}.pre_layrnorm", f"{model}.post_layernorm"]
    for layer in range(shape["layers"]):
        block = f"{model}.encoder.layers.{layer}"
        norms += [f"{block}.layer_norm1", f"{block}.layer_norm2"]
        linear = {f"self_attn.{part}_proj": (width, width) for part in ("q", "k", "v", "out")}
        for name, of_weight in (linear | {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}).items():
            shapes |= {f"{block}.{name}.weight": of_weight, f"{block}.{name}.bias": of_weight[:1]}
    return shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}


def random_clip(shape: Mapping[str, int], seed: int) -> dict[str, Tensor]:
    """Return random weights of CLIP's image tower under their published names."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: 0.02 * torch.randn(of_tensor, generator=generator) for name, of_tensor in published_shapes(shape).items()
    }


def build_tower(published: Mapping[str, Tensor], shape: Mapping[str, int]) -> nn.Module:
    """Return CLIP's image tower with published weights."""
    visual = build_clip_visual(embed_dim=EMBED_DIM, **shape)  # type: ignore[arg-type]  # all are integers
    visual.load_state_dict(tower_state(dict(published)))
    return visual.eval()


def _make_graph(
    folder: Path, shape: Mapping[str, int], release: GeoClipRelease, name: str, form: str,
    weights: dict[str, WeightsTable],
) -> SkeletonGraph:  # fmt: skip
    """Write one skeleton, add its weights to those of their file, and return what the recipe says of it."""
    _log.info("%s %s", name, form)
    precision = "fp32" if form == PARTS else form
    published, model = _exported(shape, release, name, form, seed=1)
    other = _exported(shape, release, name, form, seed=2)[1] if name == "image_encoder" else model
    origins = _origins(model, other, published)
    del other
    gc.collect()
    file, weights_file = (f"{name}.onnx" if form == "fp32" else f"{name}.{form}.onnx"), f"{name}.{precision}.weights"
    _refer_to_file(model, origins, weights_file, weights.setdefault(weights_file, WeightsTable()))
    content: bytes = model.SerializeToString(deterministic=True)
    replace_file(folder / file, content)
    sha256 = hashlib.sha256(content).hexdigest()
    return SkeletonGraph(name, file, sha256, file, weights_file, precision, form == PARTS)


def _exported(
    shape: Mapping[str, int], release: GeoClipRelease, name: str, form: str, seed: int
) -> tuple[dict[str, np.ndarray], Any]:
    """Return all published tensors by the names of a recipe, and a graph that was exported with them."""
    import onnx_ir

    clip = random_clip(shape, seed)
    graphs = reference_graphs(build_tower(clip, shape), release.head, release.location_encoder)
    side = shape["image_size"]
    sizes = {"S": side, "E": len(release.head[-1].weight)}
    if form == PARTS:
        graph: nn.Module = LocationPartsGraph(release.location_encoder.requires_grad_(False))
    else:
        graph = exported_graph(graphs[name], side, "fp16" if form == "fp16" else "fp32")
    model = onnx_ir.to_proto(traced_graph(name, graph, sizes, float64_as_parts=form == PARTS))
    if form == "int8":
        model = quantised(model)
    published = {f"{CLIP}:{key}": value.numpy() for key, value in clip.items()}
    for file, path in ((HEAD, WHEEL_FILES[HEAD]), (LOCATION, WHEEL_FILES[LOCATION])):
        stored = torch.load(release_folder() / path, map_location="cpu", weights_only=True)
        published |= {f"{file}:{key}": value.numpy() for key, value in stored.items()}
    return published, model


def quantised(model: Any) -> Any:
    """Return an ONNX model whose products with a constant weight are of eight-bit integers: the weight by columns, the
    other factor by tensor and as it comes.
    """
    from onnx import TensorProto, helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes, kept = [], dict(weights)
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or len(weight.dims) != 2:
            nodes.append(node)
            continue
        values = numpy_helper.to_array(weight)
        scale = int8_scale(values)
        stem, activation, out = weight.name, node.input[0], node.output[0]
        if f"{stem}_int8" not in kept:
            kept[f"{stem}_int8"] = numpy_helper.from_array(to_int8(values, scale), f"{stem}_int8")
            kept[f"{stem}_scale"] = numpy_helper.from_array(scale, f"{stem}_scale")
            kept.pop(stem)
        names = [f"{out}_{part}" for part in ("quantised", "factor", "zero", "integers", "floats", "scale")]
        quantised_, factor, zero, integers_, floats, both = names
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [activation], [quantised_, factor, zero]),
            helper.make_node("MatMulInteger", [quantised_, f"{stem}_int8", zero], [integers_]),
            helper.make_node("Cast", [integers_], [floats], to=TensorProto.FLOAT),
            helper.make_node("Mul", [factor, f"{stem}_scale"], [both]),
            helper.make_node("Mul", [floats, both], [out]),
        ]
    used = {name for node in nodes for name in node.input}
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensor for name, tensor in kept.items() if name in used)
    return model


def _origins(model: Any, other: Any, published: Mapping[str, np.ndarray]) -> dict[str, Origin]:
    """Return where the constants of a graph come from, by name; those that stay in the graph are not among them.

    Raises ModelError for a constant that differs in the ``other`` export and no published tensor explains.
    """
    from onnx import numpy_helper

    by_size: dict[int, list[tuple[str, ...]]] = {}
    for parts in _joined(published):
        by_size.setdefault(sum(published[part].size for part in parts), []).append(parts)
        by_size.setdefault(sum(len(published[part]) for part in parts), []).append(parts)  # the factors of its columns
        by_size.setdefault(published[parts[0]].shape[-1], []).append(parts)
    same = {tensor.name: numpy_helper.to_array(tensor) for tensor in other.graph.initializer}
    origins = {}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        origin = None
        if values.nbytes >= _SHARED and str(values.dtype) in _STORED_DTYPES:
            origin = _origin_of(values, by_size.get(values.size, []), published)
        if origin is not None:
            origins[tensor.name] = origin
        elif not np.array_equal(same.get(tensor.name, ()), values) or values.nbytes > INLINE_BYTES:
            raise ModelError(f"{tensor.name} {values.shape} {values.dtype}: no published tensor explains this constant")
    return origins


def _origin_of(
    values: np.ndarray, candidates: list[tuple[str, ...]], published: Mapping[str, np.ndarray]
) -> Origin | None:
    """Return which of some published tensors, or several joined, a constant is made of and how; None for no one."""
    for parts in candidates:
        joined = np.concatenate([published[part] for part in parts])
        for transposed in (False, True) if joined.ndim == 2 else (False,):
            turned = joined.T if transposed else joined
            for form in _forms(values.dtype, turned.ndim):
                if np.array_equal(_in_form(turned, form, values.dtype).ravel(), values.ravel()):
                    return Origin(parts, transposed, form)
    return None


def _forms(dtype: np.dtype, dimensions: int) -> tuple[Form, ...]:
    if dtype == np.int8:
        return ("int8",)
    return ("plain", "int8 scale") if dtype == np.float32 and dimensions == 2 else ("plain",)


def _in_form(values: np.ndarray, form: Form, dtype: np.dtype) -> np.ndarray:
    if form == "plain":
        return values.astype(dtype)
    scale = int8_scale(values)
    return scale if form == "int8 scale" else to_int8(values, scale)


def _joined(published: Mapping[str, np.ndarray]) -> Iterator[tuple[str, ...]]:
    """Yield every published tensor by itself, and the projections of each attention together."""
    yield from ((name,) for name in published)
    for name in published:
        if ".q_proj." in name:
            yield tuple(name.replace(".q_proj.", f".{part}_proj.") for part in "qkv")


class WeightsTable:
    """The tensors of one file of weights, each at its offset and each once, whichever graphs read it."""

    def __init__(self) -> None:
        self._placed: dict[tuple[Origin, str], StoredTensor] = {}
        self._end = 0

    def place(self, origin: Origin, shape: tuple[int, ...], dtype: Dtype) -> StoredTensor:
        """Return where a tensor lies; the large ones begin at a page, so that each is mapped by itself."""
        if (origin, dtype) not in self._placed:
            stored = StoredTensor(0, shape, dtype, origin.parts, origin.transposed, origin.form)
            step = _PAGE if tensor_bytes(stored) >= _ALIGNED_FROM else _LINE
            stored = dataclasses.replace(stored, offset=-(-self._end // step) * step)
            self._placed[origin, dtype] = stored
            self._end = stored.offset + tensor_bytes(stored)
        return self._placed[origin, dtype]

    def file(self) -> WeightsFile:
        """Return the file as a recipe has it."""
        return WeightsFile(self._end, tuple(self._placed.values()))


def _refer_to_file(model: Any, origins: Mapping[str, Origin], file: str, table: WeightsTable) -> None:
    """Replace the constants of a graph that have an origin by references to a file of weights."""
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name not in origins:
            continue
        dtype = _STORED_DTYPES[str(numpy_helper.to_array(tensor).dtype)]
        stored = table.place(origins[tensor.name], tuple(int(length) for length in tensor.dims), dtype)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", file), ("offset", stored.offset), ("length", tensor_bytes(stored))):
            tensor.external_data.add(key=key, value=str(value))


def _model(release: GeoClipRelease, side: int) -> RecipeModel:
    about = read_about("geoclip")
    return RecipeModel(
        version=about.version,
        kind="geoclip",
        preprocess=Preprocess(side, about.resize, "in graph"),
        sampling=Sampling(about.frames_per_second),
        window=Window(about.window_frames, about.overlap_frames),
        logit_scale=release.logit_scale,
        embedding_dim=len(release.head[-1].weight),
        feature_dim=EMBED_DIM,
        location_encoder_kind="equal_earth",
        place_radius_km=PLACE_RADIUS_KM,
        domain=about.domain,
        training=TrainingRecord(
            (*about.data, f"package geoclip {release.version}"), about.licences, 0, about.split
        ),
        min_cosine=MIN_COSINE,
    )  # fmt: skip
