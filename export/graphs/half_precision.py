"""Which parts of a graph compute in half precision, and which stay in float32 (the islands).

Half are the matrix products and what lies between them inside a network: attention, activations, residual sums. At full
size with random weights that costs the dual encoder 1.4e-6 of cosine, by ``python -m export islands``, which measures
in torch, where every operation rounds. ONNX Runtime's CPU widens between operators and loses 3.1e-7. The islands:

- The location encoder altogether: with half-precision layers its places move by 0.8 m in the median and 9 m at most,
  where docs/method.md 2.5 allows 1 m; in float32 by 0.0006 m and 0.011 m. Plain float32 phases would move them by 6 m.
- Normalisation of the picture, position codes and their addition: one operation each, at the edge of the graph.
- The final L2 normalisation. It gains nothing that can be measured (1.4e-6 either way): it stays because a sum of 1,792
  squares overflows float16 when features have a length of 256, and nobody has promised that real ones do not.

No island: residual sums and layer norms in float32 would bring 1.4e-6 down to 3.7e-7, which moves no place, for a
quarter more traffic between the products. Layer norms and softmax need no casts: their operators sum in float32
whatever they are given (``stash_type`` of LayerNormalization; the fused attention kernels). All of this is to be
measured again on real weights, whose features have outliers that random ones lack; the comparison that every export
ends with refuses a graph that does not hold.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from training.model.dual_encoder import DualFrameEncoder
from training.model.georefiner import GeoRefiner
from training.model.tempgeo import FrameMlp, TempGeo

Precision = Literal["fp32", "fp16"]
"""What most of a graph computes in."""

SINGLE_PRECISION_GRAPHS = ("location_encoder",)
"""Graphs that are one float32 island."""


class HalfRegion(nn.Module):
    """A network whose weights and values are float16, for callers with float32.

    With ``widen=False`` the output stays float16: for a region that feeds the next one.
    """

    def __init__(self, inner: nn.Module, *, widen: bool = True) -> None:
        super().__init__()
        self.inner = inner.half()
        self.widen = widen

    def forward(self, *values: Tensor) -> Tensor:
        output: Tensor = self.inner(*(value.half() for value in values))
        return output.float() if self.widen else output


def halve_(graph: nn.Module) -> nn.Module:
    """Put the parts of a graph that compute in half precision into half precision, in place, and return the graph.

    Understands the networks of ``training.model``; the location encoder stays as it is.
    """
    for module in list(graph.modules()):
        halve = _HALVES.get(type(module))
        if halve is not None:
            halve(module)
    return graph


def _halve_dual_encoder(encoder: DualFrameEncoder) -> None:
    encoder.clip, encoder.dino = HalfRegion(encoder.clip), HalfRegion(encoder.dino)


def _halve_tempgeo(tempgeo: TempGeo) -> None:
    tempgeo.stem = HalfRegion(tempgeo.stem)  # type: ignore[assignment]
    tempgeo.attention = HalfRegion(tempgeo.attention, widen=False)  # type: ignore[assignment]
    tempgeo.project = HalfRegion(tempgeo.project)  # type: ignore[assignment]


def _halve_frame_mlp(mlp: FrameMlp) -> None:
    mlp.layers = HalfRegion(mlp.layers)  # type: ignore[assignment]


def _halve_georefiner(refiner: GeoRefiner) -> None:
    refiner.embed_query = HalfRegion(refiner.embed_query)  # type: ignore[assignment]
    refiner.encoder = HalfRegion(refiner.encoder, widen=False)  # type: ignore[assignment]
    refiner.decoder = HalfRegion(refiner.decoder, widen=False)  # type: ignore[assignment]
    refiner.embed_output = HalfRegion(refiner.embed_output)  # type: ignore[assignment]


_HALVES = {
    DualFrameEncoder: _halve_dual_encoder,
    TempGeo: _halve_tempgeo,
    FrameMlp: _halve_frame_mlp,
    GeoRefiner: _halve_georefiner,
}
