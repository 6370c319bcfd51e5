"""A float64 tensor as two of float32, for engines that know no float64."""

from __future__ import annotations

import typing
from collections.abc import Mapping

from vidtag_cli.bundle.contract import TensorContract

if typing.TYPE_CHECKING:
    import numpy as np

HIGH, LOW = "_high", "_low"


def tensors_in_parts(tensors: tuple[TensorContract, ...]) -> tuple[TensorContract, ...]:
    """Return tensors with every float64 one replaced by its two float32 parts."""
    replaced: list[TensorContract] = []
    for tensor in tensors:
        if tensor.dtype == "float64":
            replaced += [TensorContract(tensor.name + part, "float32", tensor.shape) for part in (HIGH, LOW)]
        else:
            replaced.append(tensor)
    return tuple(replaced)


def parts_of(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays by name with every float64 one as the nearest float32 and what it lacks, 48 bits together."""
    import numpy as np

    parts: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.dtype == np.float64:
            high = array.astype(np.float32)
            parts[name + HIGH], parts[name + LOW] = high, (array - high).astype(np.float32)
        else:
            parts[name] = array
    return parts
