"""The books of a scan: how much was found, kept and dropped, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = 5
"""How many names a finding quotes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``count`` things of one ``unit`` (frame, sequence, video, row ...) of which ``reason`` holds; the first few names
    are ``examples``. One that ``is_loss`` is not among the samples any more; any other is told, not acted upon.
    """

    unit: str
    reason: str
    count: int
    examples: tuple[str, ...]
    is_loss: bool


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan of ``root`` found and kept, by unit, and its findings in order of unit and reason."""

    name: str
    root: Path
    found: dict[str, int]
    kept: dict[str, int]
    findings: tuple[Finding, ...]

    def count(self, reason: str, unit: str | None = None) -> int:
        """Return how many times a finding was made, of one unit or of all."""
        return sum(
            finding.count for finding in self.findings if finding.reason == reason and unit in (None, finding.unit)
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain dictionaries and lists; the root is left out, for a path is the caller's business."""
        findings = [
            {"unit": finding.unit, "reason": finding.reason, "count": finding.count, "is_loss": finding.is_loss,
             "examples": list(finding.examples)}
            for finding in self.findings
        ]  # fmt: skip
        return {"name": self.name, "found": self.found, "kept": self.kept, "findings": findings}


@dataclass(slots=True)
class Ledger:
    """The books while a scan writes them."""

    found: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    _counts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    _examples: dict[tuple[str, str, bool], list[str]] = field(default_factory=dict)

    def find(self, unit: str, count: int = 1) -> None:
        """Count what came into sight, whatever becomes of it."""
        self.found[unit] += count

    def keep(self, unit: str, count: int = 1) -> None:
        """Count what is in the samples."""
        self.kept[unit] += count

    def drop(self, unit: str, reason: str, example: str, count: int = 1) -> None:
        """Count what was found and is in no sample."""
        self._add((unit, reason, True), example, count)

    def note(self, unit: str, reason: str, example: str, count: int = 1) -> None:
        """Count something people should know, though nothing was dropped for it."""
        self._add((unit, reason, False), example, count)

    def _add(self, kind: tuple[str, str, bool], example: str, count: int) -> None:
        if count < 1:
            return
        self._counts[kind] += count
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def report(self, name: str, root: Path) -> ScanReport:
        """Return the books as they stand."""
        findings = [
            Finding(unit, reason, count, tuple(self._examples[unit, reason, is_loss]), is_loss)
            for (unit, reason, is_loss), count in sorted(self._counts.items())
        ]
        return ScanReport(
            name, root, dict(sorted(self.found.items())), dict(sorted(self.kept.items())), tuple(findings)
        )
