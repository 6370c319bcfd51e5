"""The sentences that every output of a calibrated model carries: on how many clips, what came out, and for what not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vidtag_cli.bundle.contract import Calibration, ChangeCoverage

NOTHING_CHANGED = "For footage of any other kind, changed pictures among them, how often they hold was not measured."
"""Until changes are measured, see :func:`with_changes`."""


def calibrated_statement(
    clips: tuple[int, int], measured: Mapping[str, float], unit: str, path_speed_km_h: float | None, reach: str
) -> str:
    """Return what radii mean that were fitted on some clips and measured on others, which the ``unit`` names; ``reach``
    says for what footage.
    """
    fitted = f"Radii hold the stated share of frames of one more clip like the {clips[0]} {unit} they were fitted on"
    if "coverage95" not in measured:
        text = f"{fitted}, by the width of the posterior; of {clips[1]} further {unit} not one frame was located."
    else:
        text = f"{fitted}, by the width of the posterior; on {clips[1]} further {unit} {_coverage(measured, '')}."
    if path_speed_km_h is not None and "path_coverage95" in measured:
        text += (
            f" With --smooth viterbi and {path_speed_km_h:g} km/h they go by the share of all paths that pass "
            f"elsewhere; on the same {unit} {_coverage(measured, 'path_')}."
        )
    return f"{text} Frames of one clip are not independent, and {reach}. {NOTHING_CHANGED}"


def with_changes(calibration: Calibration, changes: Sequence[ChangeCoverage]) -> Calibration:
    """Return a calibration with the coverage that was measured on changed footage, and a statement that names it."""
    names = list(dict.fromkeys(coverage.change for coverage in changes))
    told = (
        f"How often they hold was measured apart for footage that was changed ({', '.join(names)}): `vidtag models "
        "info` lists it. For footage of any other kind it was not measured."
    )
    statement = calibration.statement.replace(NOTHING_CHANGED, told)
    return replace(calibration, changes=tuple(changes), statement=statement)


def _coverage(measured: Mapping[str, float], prefix: str) -> str:
    names = ("coverage95", "coverage95_low", "coverage95_high", "located_share", "coverage50")
    return (
        "the 95 % circle held the true place of {:.1f} % [{:.1f}-{:.1f}, by clip] of the located frames ({:.0f} % of "
        "all) and the 50 % circle of {:.1f} %".format(*(100 * measured[f"{prefix}{name}"] for name in names))
    )


def uncalibrated_statement(clips: tuple[int, int], needed: int, unit: str) -> str:
    """Return what is said of a model for which there were too few clips to fit on and to measure on."""
    return (
        f"Uncalibrated: {clips[0]} held-out {unit} to fit on and {clips[1]} to measure on are too few, "
        f"{needed} of each are needed. Radii and probabilities are the model's own; how often the true place "
        "lies inside was not measured."
    )
