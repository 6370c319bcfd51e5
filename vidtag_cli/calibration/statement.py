"""The sentences that every output of a calibrated model carries: on how many clips, and what came out."""

from __future__ import annotations

from collections.abc import Mapping


def calibrated_statement(
    clips: tuple[int, int], measured: Mapping[str, float], unit: str, path_speed_km_h: float | None
) -> str:
    """Return what radii mean that were fitted on some clips and measured on others, which the ``unit`` names."""
    fitted = f"Radii hold the stated share of frames of {clips[0]} held-out {unit}, by the width of the posterior"
    if "coverage95" not in measured:
        text = f"{fitted}; of {clips[1]} further {unit} not one frame was located."
    else:
        text = f"{fitted}; on {clips[1]} further {unit} {_coverage(measured, '')}."
    if path_speed_km_h is not None and "path_coverage95" in measured:
        text += (
            f" With --smooth viterbi and {path_speed_km_h:g} km/h they go by the share of all paths that pass "
            f"elsewhere; on the same {unit} {_coverage(measured, 'path_')}."
        )
    return f"{text} Frames of one clip are not independent, and all are of the training data's kind and places."


def _coverage(measured: Mapping[str, float], prefix: str) -> str:
    shares = (100 * measured[f"{prefix}{name}"] for name in ("coverage95", "located_share", "coverage50"))
    return (
        "the 95 % circle held the true place of {:.1f} % of the located frames ({:.0f} % of all) and the 50 % circle "
        "of {:.1f} %".format(*shares)
    )


def uncalibrated_statement(clips: tuple[int, int], needed: int, unit: str) -> str:
    """Return what is said of a model for which there were too few clips to fit on and to measure on."""
    return (
        f"Uncalibrated: {clips[0]} held-out {unit} to fit on and {clips[1]} to measure on are too few, "
        f"{needed} of each are needed. Radii and probabilities are the model's own; how often the true place "
        "lies inside was not measured."
    )
