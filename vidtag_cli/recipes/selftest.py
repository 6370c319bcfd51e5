"""``vidtag models selftest``: a model's frame encoder in any engine, held against its exact graph on the CPU."""

from __future__ import annotations

import numpy as np

from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.opening import has_float64, open_engine
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.pipeline.engine_trial import (
    Encode,
    SelfTest,
    encoder_of,
    engine_limit,
    exact_precision,
    judge_encoder,
    packaged_frames,
)
from vidtag_cli.pipeline.session import FRAME_ENCODERS, open_own_gallery


def frame_encoder(
    bundle: ModelBundle, precision: str, engine: str = "onnxruntime", device: str | None = None,
    threads: int | None = None, observer: BuildObserver | None = None,
) -> Encode:  # fmt: skip
    """Return what encodes frames with a bundle's own graph in a precision and an engine."""
    graph = bundle.graphs_for(precision, has_float64=has_float64(engine))[FRAME_ENCODERS[bundle.kind]]
    opened = open_engine(graph, engine, device, threads, window_frames=bundle.window.frames, observer=observer)
    return encoder_of(opened, graph)


def places_of_frames(bundle: ModelBundle, threads: int | None, observer: BuildObserver | None) -> Gallery | None:
    """Return the places that single frames are compared with, or None for a model whose frames need their neighbours:
    what moves is then judged by cosine alone.
    """
    return open_own_gallery(bundle, threads, observer) if bundle.kind == "geoclip" else None


def try_bundle(
    bundle: ModelBundle, precision: str | None, engine: str, device: str | None, threads: int | None,
    observer: BuildObserver | None = None,
) -> SelfTest:  # fmt: skip
    """Return how a bundle's frame encoder does in an engine, held against its most exact graph on the CPU.

    Raises ModelError when engine or precision cannot be had.
    """
    wanted = precision or bundle.precisions()[0]
    frames_rgb = packaged_frames(bundle.preprocess.frame_size_px)
    reference = frame_encoder(bundle, exact_precision(bundle), threads=threads)
    expected = np.concatenate([reference(frames_rgb[number : number + 1]) for number in range(len(frames_rgb))])
    del reference  # it holds all weights
    gallery = places_of_frames(bundle, threads, observer)
    encode = frame_encoder(bundle, wanted, engine, device, threads, observer)
    return judge_encoder(encode, expected, frames_rgb, wanted, engine_limit(wanted), gallery)
