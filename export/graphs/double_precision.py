"""Exporting float64: what torch's exporter would otherwise write down with the precision of float32.

The exporter rounds every number of the source code to float32, in float64 arithmetic too: pi / 180 and the constants of
a projection are then off by 3e-8, which is a metre on the ground. And engines know the arcsine in float32 only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch


def float64_translations() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Return the translations for ``torch.onnx.export(custom_translation_table=...)`` that keep float64 exact."""
    return {
        torch.ops.aten.scalar_tensor.default: _scalar,
        torch.ops.aten.deg2rad.default: _radians,
        torch.ops.aten.asin.default: _arcsine,
    }


def _scalar(s: Any, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """Return a number as a constant of a dtype, given as ONNX numbers it; -1 is float32."""
    from onnx import TensorProto, helper
    from onnxscript import opset23 as op

    dtype = TensorProto.FLOAT if dtype == -1 else dtype
    if isinstance(s, (int, float)):
        return op.Constant(value=helper.make_tensor("", dtype, [], [s]))
    return op.Cast(s, to=dtype)


def _radians(self: Any) -> Any:
    from onnx import TensorProto, helper
    from onnxscript import opset23 as op

    factor = helper.make_tensor("", TensorProto.DOUBLE, [], [math.pi / 180.0])
    return op.Mul(self, op.CastLike(op.Constant(value=factor), self))


def _arcsine(self: Any) -> Any:
    """Return the arcsine by two Newton steps from float32's, which take its seven digits past float64's.

    On the range of Equal Earth, 60 degrees, the cosine that is divided by is never under a half.
    """
    from onnx import TensorProto
    from onnxscript import opset23 as op

    start = op.Asin(op.Cast(self, to=TensorProto.FLOAT))
    angle = op.Cast(start, to=TensorProto.DOUBLE)
    for _ in range(2):
        angle = op.Sub(angle, op.Div(op.Sub(op.Sin(angle), self), op.Cos(angle)))
    return angle
