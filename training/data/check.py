"""Is a data set fit to train on? Counts, what was dropped and why, and doubts about what was kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.ledger import EXAMPLES, Finding, Ledger, ScanReport
from training.data.sample import MIN_FRAMES, Sample, ScanResult
from training.data.splits import HELD_OUT, split_samples
from vidtag_cli.geo.sphere import haversine_km

MAX_STEP_KM = 1.0
"""Between two frames of one sequence; MSLS takes them metres apart and a car makes 0.03 km/s."""

COUNT_PERCENTILES = (0, 5, 50, 95, 100)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Sequences and frames of one stratum and the share of its sequences that the split holds out."""

    name: str
    sequences: int
    frames: int
    held_out: float


@dataclass(frozen=True, slots=True)
class DataCheck:
    """The books of the scan, doubts about the samples, and how the samples are spread.

    ``frames_percentiles`` are frames a sequence at the percentiles 0, 5, 50, 95 and 100; empty without sequences.
    """

    report: ScanReport
    doubts: tuple[Finding, ...]
    strata: tuple[Stratum, ...]
    frames_percentiles: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain dictionaries and lists."""
        scan = self.report.as_json()
        doubts = [
            {"unit": entry.unit, "reason": entry.reason, "count": entry.count, "examples": list(entry.examples)}
            for entry in self.doubts
        ]
        strata = [
            {"name": entry.name, "sequences": entry.sequences, "frames": entry.frames, "held_out": entry.held_out}
            for entry in self.strata
        ]
        return {
            "scan": scan,
            "doubts": doubts,
            "strata": strata,
            "frames_per_sequence": dict(zip(map(str, COUNT_PERCENTILES), self.frames_percentiles, strict=False)),
        }


def check_scan(result: ScanResult) -> DataCheck:
    """Return the check of a scanned data set; pixels are not read."""
    samples = result.samples
    ledger = Ledger()
    _doubt_tracks(samples, ledger)
    counts = [len(sample) for sample in samples]
    percentiles = np.percentile(counts, COUNT_PERCENTILES, method="nearest").tolist() if counts else []
    return DataCheck(
        result.report,
        ledger.report(result.report.name, result.report.root).findings,
        _strata(samples),
        tuple(int(value) for value in percentiles),
    )


def _doubt_tracks(samples: Sequence[Sample], ledger: Ledger) -> None:
    first_with: dict[bytes, str] = {}
    for sample in samples:
        if len(sample) < MIN_FRAMES:
            ledger.note("sequence", "fewer_than_16_frames", f"{sample.key}: {len(sample)}")
        steps_km = haversine_km(sample.latlon_deg[:-1], sample.latlon_deg[1:])
        if (far := int((steps_km > MAX_STEP_KM).sum())) > 0:
            ledger.note("step", "position_jump", f"{sample.key}: {steps_km.max():.1f} km", far)
        if not steps_km.any():
            # The city centres of CityGuessr68k look like this; elsewhere it is a camera at rest, or a stuck receiver.
            ledger.note("sequence", "one_position", sample.key)
            continue
        digest = hashlib.sha256(sample.latlon_deg.tobytes()).digest()
        if digest in first_with:
            ledger.note("sequence", "duplicate_track", f"{sample.key} has the track of {first_with[digest]}")
        first_with.setdefault(digest, sample.key)


def _strata(samples: Sequence[Sample]) -> tuple[Stratum, ...]:
    held_out = split_samples(samples, HELD_OUT).held_out_by_stratum()
    frames: Counter[str] = Counter()
    for sample in samples:
        frames[sample.stratum] += len(sample)
    sequences = Counter(sample.stratum for sample in samples)
    return tuple(Stratum(name, sequences[name], frames[name], share) for name, share in held_out.items())


def check_rows(check: DataCheck) -> list[list[str]]:
    """Return the check as rows of a table: unit, what, count, examples."""
    rows = []
    for unit, count in check.report.found.items():
        rows += [[unit, "found", str(count), ""], [unit, "kept", str(check.report.kept.get(unit, 0)), ""]]
    for finding in (*check.report.findings, *check.doubts):
        verb = "dropped" if finding.is_loss else "noted"
        more = "; ..." if finding.count > EXAMPLES and len(finding.examples) == EXAMPLES else ""
        rows.append(
            [finding.unit, f"{verb}: {finding.reason}", str(finding.count), "; ".join(finding.examples[:2]) + more]
        )
    if check.frames_percentiles:
        spread = ", ".join(
            f"{count} ({percent} %)" for percent, count in zip(COUNT_PERCENTILES, check.frames_percentiles, strict=True)
        )
        rows.append(["sequence", "frames each", "", spread])
    for stratum in check.strata:
        text = f"{stratum.frames} frames, {100.0 * stratum.held_out:.1f} % held out"
        rows.append(["sequence", f"in {stratum.name}", str(stratum.sequences), text])
    return rows
