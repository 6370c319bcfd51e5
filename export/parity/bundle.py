"""The comparison of a whole bundle with torch, graph by graph and all of them together."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from export.parity.cases import CLIP_SHAPES, MAX_FRAMES, ParityCase, edge_cases
from export.parity.reference import EngineRun, ParityReference, PlaceShift, chain_embeddings, place_shift
from export.parity.report import CaseResult, ParityReport, check_parity, format_report, tolerance_of
from vidtag_cli.bundle.load import ModelBundle, ModelGraph
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.opening import open_engine
from vidtag_cli.errors import ModelError

LONGEST_CLIP_FRAMES = max(MAX_FRAMES, *(frames for _, frames in CLIP_SHAPES))
"""The longest clip of the cases: the largest batch of pictures is compared as one clip too."""


def bundle_parity(
    bundle: ModelBundle,
    reference: ParityReference,
    frames_rgb: np.ndarray | None = None,
    engine: str = "onnxruntime",
    *,
    precision: str | None = None,
    device: str | None = None,
    max_frames: int = MAX_FRAMES,
    cases: Sequence[ParityCase] | None = None,
) -> ParityReport:
    """Return the comparison of all graphs of a bundle, opened in an engine, with torch.

    ``precision`` is by default the bundle's own; ``device`` cpu for onnxruntime, else cuda. ``cases`` made before are
    compared in place of new ones, which saves running torch again.
    """
    size_px = bundle.preprocess.frame_size_px
    computed_in = precision or bundle.precisions()[0]
    tolerance_of(engine, computed_in)  # before torch computes for minutes
    cases = cases or tuple(edge_cases(reference, size_px, frames_rgb=frames_rgb, max_frames=max_frames))
    has_float64 = engine == "onnxruntime"
    with engine_runner(bundle.graphs_for(computed_in, has_float64=has_float64), engine, device) as run:
        report = check_parity(reference, run, cases, engine=engine, precision=computed_in)
        shift = _shift_of_places(reference, run, cases)
    results = report.results
    parts = [graph for graph in bundle.variants.get("location_encoder", ()) if graph.float64_as_parts]
    if has_float64 and parts:
        results += _compare_parts(reference, parts[0], cases, engine, computed_in, device)
    return dataclasses.replace(report, results=results, place_shift=shift)


def _shift_of_places(reference: ParityReference, run: EngineRun, cases: Sequence[ParityCase]) -> PlaceShift:
    """Return the movement under all graphs one after the other, on the largest batch of pictures as one clip."""
    largest = [case for case in cases if case.graph == "dual_encoder"][-1]
    outputs = (largest.expected or reference.run(largest.graph, largest.inputs), run(largest.graph, largest.inputs))
    expected, actual = (
        chain_embeddings(reference, runner, output["frame_features"])
        for runner, output in zip((reference.run, run), outputs, strict=True)
    )
    return place_shift(reference, expected, actual)


def _compare_parts(
    reference: ParityReference, graph: ModelGraph, cases: Sequence[ParityCase], engine: str, precision: str,
    device: str | None,
) -> tuple[CaseResult, ...]:  # fmt: skip
    """Return the comparison of the location encoder for engines without float64, in an engine that has it."""
    places = [dataclasses.replace(c, name=f"{c.name}, parts") for c in cases if c.graph == "location_encoder"]
    with engine_runner({"location_encoder": graph}, engine, device) as run:
        return check_parity(reference, run, places, engine=engine, precision=precision).results


def require_parity(report: ParityReport, folder: Path) -> None:
    """Remove the graphs that failed from a folder and raise ModelError with the table; do nothing when none did."""
    for name in report.failed_graphs():
        for path in (*folder.glob(f"{name}.onnx*"), *folder.glob(f"{name}.{report.precision}.onnx*")):
            path.unlink()
    if report.failures():
        raise ModelError(
            f"{', '.join(report.failed_graphs())}: the exported graph does not give what torch gives and was removed\n"
            + format_report(report)
        )


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
