"""Which positions a data set may not teach: faults that a scan counts and reports."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from training.data.ledger import Ledger
from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.fix import Fix
from vidtag_cli.evaluation.truth import Truth, truth_of
from vidtag_cli.positions.position import NULL_ISLAND_DEG, Clock

PositionFault = Literal["position_not_finite", "position_out_of_range", "position_null_island"]


def position_fault(lat_deg: float, lon_deg: float) -> PositionFault | None:
    """Return why a position cannot be true, or None."""
    if not (math.isfinite(lat_deg) and math.isfinite(lon_deg)):
        return "position_not_finite"
    if abs(lat_deg) > 90.0 or abs(lon_deg) > 180.0:
        return "position_out_of_range"
    if abs(lat_deg) < NULL_ISLAND_DEG and abs(lon_deg) < NULL_ISLAND_DEG:
        return "position_null_island"
    return None


def parsed_number(value: object) -> float:
    """Return the number that a text or a JSON value holds; NaN where it holds none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def truth_of_fixes(
    clock: Clock, fixes: Iterable[Fix], where: str, ledger: Ledger, first_instant: float | None = None
) -> Truth:
    """Return the truth of the usable fixes, which may come in any order; the ledger learns of the others.

    Raises InputError when not one is usable.
    """
    usable = []
    for fix in fixes:
        ledger.find("fix")
        fault = position_fault(fix.lat_deg, fix.lon_deg)
        reason = fault if math.isfinite(fix.instant) else "time_not_finite"
        if reason is None:
            usable.append(fix)
        else:
            ledger.drop("fix", reason, f"{where}: {fix.where}")
    if any(later.instant < earlier.instant for earlier, later in zip(usable, usable[1:], strict=False)):
        ledger.note("video", "fixes_unordered", where)
        usable.sort(key=lambda fix: fix.instant)
    kept: list[Fix] = []
    for fix in usable:
        if kept and fix.instant == kept[-1].instant:
            ledger.drop("fix", "duplicate_time", f"{where}: {fix.where}")
        else:
            kept.append(fix)
    if not kept:
        raise InputError(f"{where}: holds no usable position")
    ledger.keep("fix", len(kept))
    return truth_of(clock, [replace(fix, lon_deg=wrapped_lon_deg(fix.lon_deg)) for fix in kept], first_instant)


def wrapped_lon_deg(lon_deg: float) -> float:
    """Return the longitude with -180 in place of 180, as everywhere in memory."""
    return -180.0 if lon_deg == 180.0 else lon_deg


def relative_name(path: Path, root: Path) -> str:
    """Return the path below the data set's root, with slashes: the same on every machine."""
    return path.relative_to(root).as_posix()
