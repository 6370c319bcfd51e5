"""Arrays against the tensors that a graph's contract names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vidtag_cli.bundle.contract import Dimension, TensorContract
from vidtag_cli.errors import ModelError


def check_inputs(graph: str, contract: Sequence[TensorContract], inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return the sizes that this call gives to the free letters.

    Raises ModelError, naming graph and input, for a missing or unknown name, another dtype, another number of
    dimensions or a size that contradicts the contract or an earlier input.
    """
    names = [tensor.name for tensor in contract]
    if set(inputs) != set(names):
        raise ModelError(f"{graph}: expected the inputs {names}, got {sorted(inputs)}")
    sizes: dict[str, int] = {}
    for tensor in contract:
        _check_array(f"{graph}: input {tensor.name}", tensor, inputs[tensor.name], sizes)
    return sizes


def check_outputs(
    graph: str, contract: Sequence[TensorContract], outputs: Mapping[str, np.ndarray], sizes: dict[str, int]
) -> None:
    """Raise ModelError unless every output has the promised dtype and shape and only finite values that say something.

    A half-precision graph that overflows gives NaN without any error, one that underflows or lost its weights gives
    zeros; searched, both would look like a place. An embedding is a direction, which no vector of zeros has.
    """
    for tensor in contract:
        where = f"{graph}: output {tensor.name}"
        array = outputs[tensor.name]
        _check_array(where, tensor, array, sizes)
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise ModelError(f"{where}: {bad} of {array.size} values are not finite; try another precision or device")
        is_said = array.any(axis=-1) if tensor.name.endswith("_embedding") else array.any()
        if not np.all(is_said):
            silent = np.size(is_said) - int(np.count_nonzero(is_said))
            what = f"{silent} of {np.size(is_said)} vectors are" if np.ndim(is_said) else "all of it is"
            raise ModelError(f"{where}: {what} zero; try another precision or device, or install the model again")


def _check_array(where: str, tensor: TensorContract, array: np.ndarray, sizes: dict[str, int]) -> None:
    if not isinstance(array, np.ndarray):
        raise ModelError(f"{where}: expected a numpy array, got {type(array).__name__}")
    if array.dtype != np.dtype(tensor.dtype):
        raise ModelError(f"{where}: expected dtype {tensor.dtype}, got {array.dtype}")
    if array.ndim != len(tensor.shape):
        raise ModelError(f"{where}: expected shape {_spell(tensor.shape)}, got {array.shape}")
    for size, dimension in zip(array.shape, tensor.shape, strict=True):
        expected = sizes.setdefault(dimension, size) if isinstance(dimension, str) else dimension
        if size != expected or size == 0:
            detail = f" with {dimension} = {expected}" if isinstance(dimension, str) and size != expected else ""
            raise ModelError(f"{where}: expected shape {_spell(tensor.shape)}{detail}, got {array.shape}")


def _spell(shape: tuple[Dimension, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
