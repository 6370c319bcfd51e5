"""The sides of a comparison that can be run: graphs in an engine, and torch's own half precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from export.parity.cases import CLIP_SHAPES, MAX_FRAMES
from export.parity.reference import EngineRun
from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.registry import open_engine

LONGEST_CLIP_FRAMES = max(MAX_FRAMES, *(frames for _, frames in CLIP_SHAPES))
"""The longest clip of the cases: the largest batch of pictures is compared as one clip too."""


@contextlib.contextmanager
def engine_runner(graphs: Mapping[str, ModelGraph], engine: str, device: str | None = None) -> Iterator[EngineRun]:
    """Give a function that runs graphs in an engine, of which one is open at a time.

    At full size two of them would not fit into memory beside the model in torch. ``device`` is by default cpu for
    onnxruntime and cuda for the others. Engines of TensorRT are built for :data:`LONGEST_CLIP_FRAMES`, beyond which
    they take no clip, and so are not those of a bundle with a shorter window.
    """
    own_device = device or ("cpu" if engine == "onnxruntime" else "cuda")
    opened: dict[str, Engine] = {}

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if name not in opened:
            _close(opened)
            opened[name] = open_engine(graphs[name], engine, own_device, window_frames=LONGEST_CLIP_FRAMES)
        return opened[name].run(graphs[name].feed(inputs))

    try:
        yield run
    finally:
        _close(opened)


def _close(opened: dict[str, Engine]) -> None:
    for engine in opened.values():
        close = getattr(engine, "close", None)  # engines on a GPU give its memory back at once
        if close is not None:
            close()
    opened.clear()
