"""What each float32 island of the half-precision graphs is worth: ``python -m export islands random:paper``.

Measured in torch, which rounds after every operation, against float32. The figures in
:mod:`export.graphs.half_precision` are from here; on real weights they should be taken again, because random ones have
no outliers.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from export.checkpoint import read_checkpoint
from export.full_size import video_pictures
from export.graphs.graphs import DualEncoderGraph, exported_graph, location_parts_graph
from export.graphs.half_precision import HalfRegion
from export.parity.cases import picture_pool
from export.parity.reference import equivalent_step_m
from training.model.location_encoder import LocationEncoder
from training.model.vidtag import VidTag
from vidtag_cli.bundle.float_parts import parts_of

_PLACES = 2000


class HalfAttention(nn.Module):
    """An attention in half precision whose caller keeps its sums in float32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.half()

    def forward(self, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        return self.inner(values.half())[0].float(), None


class HalfNormalisation(nn.Module):
    """A dual encoder whose joined features are normalised in half precision too."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, frames_rgb: Tensor) -> Tensor:
        joined = torch.cat(self.graph.encoder.branches(frames_rgb.float()), dim=-1).half()
        return functional.normalize(joined, dim=-1).float()


def sums_in_float32(model: VidTag, size_px: int) -> DualEncoderGraph:
    """Return a dual encoder with half-precision products only: layer norms and residual sums are float32."""
    graph = exported_graph(model, "dual_encoder", size_px)
    for module in graph.modules():
        for name in ("attn", "attention"):
            if type(getattr(module, name, None)).__name__ == "PackedAttention":
                setattr(module, name, HalfAttention(getattr(module, name)))
        mlp = getattr(module, "mlp", None)
        if isinstance(mlp, nn.Module):
            module.mlp = HalfRegion(mlp)
    return graph  # type: ignore[return-value]


def half_layers(model: VidTag) -> Callable[[np.ndarray], np.ndarray]:
    """Return the location encoder with exact phases and half-precision layers."""
    graph = location_parts_graph(model)
    for branch in graph.encoder.branches:
        branch.layers, branch.head = HalfRegion(branch.layers), HalfRegion(branch.head)
    return _location_run(graph)


def study(model: VidTag, frames_rgb: np.ndarray, size_px: int) -> Iterator[str]:
    """Yield one line of figures for each variant."""
    images = torch.from_numpy(frames_rgb)
    with torch.no_grad():
        expected = DualEncoderGraph(model.dual_encoder)(images)
        half = exported_graph(model, "dual_encoder", size_px, "fp16")
        yield _line("dual encoder as exported", _cosines(expected, half(images)))
        yield _line("  final L2 normalisation in half too", _cosines(expected, HalfNormalisation(half)(images)))
        del half
        gc.collect()
        wider = sums_in_float32(model, size_px)
        yield _line("  residual sums and layer norms in float32", _cosines(expected, wider(images)))
        del wider
        places = _places()
        exact = copy.deepcopy(model.location_encoder).double()(torch.from_numpy(places)).numpy()
        plain: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "location encoder, float64 phases": lambda latlon: model.location_encoder(torch.from_numpy(latlon)).numpy(),
            "  in parts of float32 (exported)": _location_run(location_parts_graph(model)),
            "  plain float32": lambda latlon: model.location_encoder(torch.from_numpy(latlon).float()).numpy(),
            "  in parts, layers in half": half_layers(model),
        }
        for name, run in plain.items():
            yield _moved(name, model.location_encoder, places, run(places) - exact)


def islands(
    checkpoint: Annotated[str, typer.Argument(help="A finished training run, or random:paper.")],
    frames: Annotated[list[Path] | None, typer.Option(help="Videos to take pictures from.")] = None,
    count: Annotated[int, typer.Option(min=4, help="How many pictures.")] = 8,
) -> None:
    """Measure what each float32 island is worth."""
    run, _ = read_checkpoint(checkpoint)
    size_px = run.config.model.frame_size_px
    pictures = video_pictures(frames, size_px, count) if frames else run.parity_frames_rgb
    pool = picture_pool(size_px, np.random.default_rng(0), pictures, count)
    for line in study(run.model, pool, size_px):
        typer.echo(line)


def _location_run(graph: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    def run(latlon_deg: np.ndarray) -> np.ndarray:
        parts = parts_of({"latlon_deg": latlon_deg})
        return graph(*(torch.from_numpy(part) for part in parts.values())).numpy()

    return run


def _places() -> np.ndarray:
    """Return places spread evenly over the Earth; an encoder's derivative has no direction at the poles themselves."""
    rng = np.random.default_rng(0)
    lat_deg = np.rad2deg(np.arcsin(rng.uniform(-0.999, 0.999, _PLACES)))
    return np.stack([lat_deg, rng.uniform(-180.0, 180.0, _PLACES)], axis=-1)


def _cosines(expected: Tensor, actual: Tensor) -> Tensor:
    return functional.cosine_similarity(expected.double(), actual.double(), dim=-1)


def _line(name: str, cosines: Tensor) -> str:
    lost = 1.0 - cosines
    return f"{name:<44} 1 - cosine: median {float(lost.median()):.1e}, most {float(lost.max()):.1e}"


def _moved(name: str, encoder: LocationEncoder, places: np.ndarray, change: np.ndarray) -> str:
    moved_m = equivalent_step_m(encoder, places, change)
    return f"{name:<44} moved: median {np.median(moved_m):.4f} m, most {moved_m.max():.4f} m"
