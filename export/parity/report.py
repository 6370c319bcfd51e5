"""Does an engine give what torch gives? Judged by cosine and by how many metres the predicted position moves."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.parity.cases import ParityCase
from export.parity.reference import EngineRun, ParityReference, PlaceShift
from vidtag_cli.errors import UsageError

_log = logging.getLogger("export")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The lowest cosine of any row of an output and the farthest any predicted position may move."""

    cosine: float
    moved_m: float
    reason: str


_SINGLE_PRECISION = Tolerance(
    0.99999, 1.0, "the same arithmetic in another order: nothing an output format could show may change"
)
_HALF_PRECISION = Tolerance(
    0.999, 50.0, "ten bits of mantissa through 24 layers; half a cell of the finest gallery the paper uses (0.1 km)"
)
TOLERANCES: Mapping[tuple[str, str], Tolerance] = {
    ("torch", "fp32"): _SINGLE_PRECISION,
    ("torch", "fp16"): _HALF_PRECISION,
    ("onnxruntime", "fp32"): _SINGLE_PRECISION,
    ("onnxruntime", "fp16"): _HALF_PRECISION,
    ("onnxruntime_tensorrt", "fp32"): _SINGLE_PRECISION,
    ("onnxruntime_tensorrt", "fp16"): _HALF_PRECISION,
    ("tensorrt", "fp32"): _SINGLE_PRECISION,
    ("tensorrt", "fp16"): _HALF_PRECISION,
    ("tensorrt_rtx", "fp32"): _SINGLE_PRECISION,
    ("tensorrt_rtx", "fp16"): _HALF_PRECISION,
}
"""(engine, precision) to what is accepted; a pair that is not here has not been thought about and is refused.

Half precision sets the cosine that full size must reach and movement that no gallery shows. An int8 form has no entry:
whether its movement is acceptable only real weights can say, and there are none to measure.
"""

LOCATION_MOVED_M = 1.0
"""For the location encoder in every precision (docs/method.md 2.5): galleries made by one engine are searched by
another.
"""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case of one graph. ``cosine`` covers all rows of all outputs; ``moved`` is in metres.

    ``best_places_changed`` counts frames whose best gallery point is another one: 0 unless two points tie.
    """

    graph: str
    case: str
    rows: int
    cosine_min: float
    cosine_mean: float
    moved_max_m: float
    moved_mean_m: float
    best_places_changed: int


@dataclass(frozen=True, slots=True)
class ParityReport:
    """All cases of an engine against torch, and where measured the movement of places through all graphs together."""

    engine: str
    precision: str
    tolerance: Tolerance
    results: tuple[CaseResult, ...]
    place_shift: PlaceShift | None = None

    def failures(self) -> tuple[CaseResult, ...]:
        """Return the cases outside the tolerance; a result that is not a number is outside."""
        return tuple(result for result in self.results if not self._accepts(result))

    def _accepts(self, result: CaseResult) -> bool:
        is_location = result.graph == "location_encoder"
        moved_m = min(LOCATION_MOVED_M, self.tolerance.moved_m) if is_location else self.tolerance.moved_m
        return result.cosine_min >= self.tolerance.cosine and result.moved_max_m < moved_m

    def failed_graphs(self) -> tuple[str, ...]:
        """Return the names of the graphs with a failure, each once."""
        return tuple(dict.fromkeys(result.graph for result in self.failures()))

    def document(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return dataclasses.asdict(self) | {"passed": not self.failures()}


def check_parity(
    reference: ParityReference,
    engine_run: EngineRun,
    cases: Iterable[ParityCase],
    *,
    engine: str = "onnxruntime",
    precision: str = "fp32",
) -> ParityReport:
    """Return the comparison of an engine with torch over all cases.

    Raises UsageError when there is no tolerance for the engine at this precision.
    """
    tolerance = tolerance_of(engine, precision)
    results = []
    for case in cases:
        _log.info("comparing %s at %s with torch: %s, %s", engine, precision, case.graph, case.name)
        results.append(_compare(reference, engine_run, case))
    return ParityReport(engine, precision, tolerance, tuple(results))


def tolerance_of(engine: str, precision: str) -> Tolerance:
    """Return what is accepted of an engine at a precision; raises UsageError where nobody has thought about it."""
    if (engine, precision) not in TOLERANCES:
        known = ", ".join(f"{name} {kind}" for name, kind in TOLERANCES)
        raise UsageError(f"no tolerance for {engine} at {precision}; known are {known}: add one with its reason")
    return TOLERANCES[engine, precision]


def format_report(report: ParityReport) -> str:
    """Return the report as a table for people, one line a case."""
    lines = [f"{'graph':<17}{'case':<22}{'rows':>6}{'1 - cosine':>13}{'moved (m)':>12}{'other place':>13}"]
    failures = set(report.failures())
    for result in report.results:
        line = f"{result.graph:<17}{result.case:<22}{result.rows:>6}{1 - result.cosine_min:>13.1e}"
        line += f"{result.moved_max_m:>12.4f}{result.best_places_changed:>13}"
        lines.append(line + ("  FAILED" if result in failures else ""))
    limit = report.tolerance
    accepted = f"cosine >= {limit.cosine}, moved < {limit.moved_m} m: {limit.reason}"
    lines.append(f"{report.engine} {report.precision}: {accepted}")
    lines.append(f"location encoder: moved < {LOCATION_MOVED_M} m in every precision")
    if report.place_shift is not None:
        lines.append(_format_shift(report.place_shift))
    return "\n".join(lines)


def _format_shift(shift: PlaceShift) -> str:
    return (
        f"all graphs together, {shift.frames} frames, {shift.places} places: 1 - cosine {1 - shift.cosine_min:.1e}; "
        f"moved {shift.p50_m:.3f} m (50 %), {shift.p95_m:.3f} m (95 %), {shift.p99_m:.3f} m (99 %), "
        f"{shift.max_m:.3f} m (most); another nearest place for {100 * shift.best_place_changed:.2f} %"
    )


def _compare(reference: ParityReference, engine_run: EngineRun, case: ParityCase) -> CaseResult:
    expected = case.expected or reference.run(case.graph, case.inputs)
    actual = engine_run(case.graph, case.inputs)
    cosines = np.concatenate([_row_cosines(values, actual[name]) for name, values in expected.items()])
    shift = reference.shift(case.graph, case.inputs, expected, actual)
    return CaseResult(
        graph=case.graph,
        case=case.name,
        rows=len(shift.moved_m),
        cosine_min=float(cosines.min()),
        cosine_mean=float(cosines.mean()),
        moved_max_m=float(shift.moved_m.max()),
        moved_mean_m=float(shift.moved_m.mean()),
        best_places_changed=shift.best_places_changed,
    )


def _row_cosines(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return the cosine of every row (..., W), in float64: float32 cannot tell 0.9999999 from 1."""
    if expected.shape != actual.shape:
        raise ValueError(f"the engine gave {actual.shape} where torch gives {expected.shape}")
    a, b = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (expected, actual))
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
